"""asyncio in a cell: when its code needs a running event loop, and what becomes of tasks that outlast it."""

from __future__ import annotations

import ast
import asyncio
import sys
import time
from typing import Any, Final

#: how long tasks may go on after the cell (seconds): less than the launcher gives the process, so that the rest is told
PATIENCE_S: Final = 0.7
_NEED_LOOP: Final = frozenset({"create_task", "get_running_loop", "current_task"})
_START_LOOP: Final = frozenset({"run", "run_until_complete", "run_forever"})


def needs_running_loop(code: str) -> bool:
    """Whether the code calls at its top level what works in a notebook because the kernel's event loop runs.

    Code that starts a loop itself, as programs do, is left alone.

    Args:
        code: Python.
    """
    if not any(name in code for name in _NEED_LOOP):
        return False
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = _top_level_calls(tree)
    return bool(called & _NEED_LOOP) and not called & _START_LOOP


def _top_level_calls(tree: ast.AST) -> set[str]:
    names, nodes = set(), [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name:
                names.add(name)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)
    return names


def finish() -> None:
    """Give tasks that the cell left running a moment to end, and name those that do not."""
    end = time.monotonic() + PATIENCE_S
    for loop in _idle_loops():
        while (pending := asyncio.all_tasks(loop)) and (left := end - time.monotonic()) > 0:
            done, _ = loop.run_until_complete(asyncio.wait(pending, timeout=left))
            for task in done:
                _tell_error(loop, task)
        if pending:
            names = ", ".join(sorted(_name(task) for task in pending)[:5])
            more = f" and {len(pending) - 5} more" if len(pending) > 5 else ""
            print(
                f"asyncio tasks that the cell did not wait for were dropped: {names}{more}; await them to keep them",
                file=sys.stderr,
            )


def _idle_loops() -> list[asyncio.AbstractEventLoop]:
    from IPython.core import async_helpers

    # IPython's own, for top-level await, and the one that asyncio made for code that asked it; neither is made here
    policy: Any = asyncio.get_event_loop_policy()
    found = [
        getattr(async_helpers, "_asyncio_event_loop", None),
        getattr(getattr(policy, "_local", None), "_loop", None),
    ]
    loops = [loop for loop in dict.fromkeys(found) if isinstance(loop, asyncio.AbstractEventLoop)]
    return [loop for loop in loops if not loop.is_closed() and not loop.is_running()]


def _tell_error(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        message = "an asyncio task that the cell did not wait for failed"
        loop.call_exception_handler({"message": message, "exception": error, "task": task})


def _name(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    return f"{getattr(coroutine, '__qualname__', coroutine)}()"
