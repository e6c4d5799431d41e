"""Tells somebody of a new dead letter: a command or an http(s) URL, nothing by default."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger("codeexec")

#: seconds a hook may take
TIMEOUT_S = 10.0


def alert(hook: str | None, letter: Mapping[str, Any], told: Callable[[], None]) -> None:
    """Call the hook in the background with the entry as JSON (standard input of a command, body of a POST).

    Args:
        hook: the command or URL; None: there is nobody to tell.
        letter: the entry.
        told: called when the hook has ended, however it did.
    """
    if hook:
        threading.Thread(target=_tell, args=(hook, dict(letter), told), name="codeexec-alert", daemon=True).start()
    else:
        told()


def _tell(hook: str, letter: Mapping[str, Any], told: Callable[[], None]) -> None:
    try:
        _call(hook, letter)
    finally:
        told()


def _call(hook: str, letter: Mapping[str, Any]) -> None:
    body = json.dumps(letter).encode()
    try:
        if hook.startswith(("http://", "https://")):
            request = urllib.request.Request(hook, body, {"Content-Type": "application/json"})  # noqa: S310 - checked above
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 - the operator's own URL
                reply.read(1024)
        else:
            subprocess.run(shlex.split(hook), input=body, timeout=TIMEOUT_S, check=True, stdout=subprocess.DEVNULL)
    except (OSError, ValueError, subprocess.SubprocessError) as err:
        log.error("the alert hook failed for job %s: %s", letter.get("task_id"), err)
