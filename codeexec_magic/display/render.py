"""The state of a job as HTML and as text. Pure: the same state gives the same picture, and no kernel is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from codeexec_magic.contract import Reason, Status
from codeexec_magic.display import theme
from codeexec_magic.display.theme import WORDS, age, escaped, ordinal, pill, plural, seconds
from codeexec_magic.hostile_text import one_line
from codeexec_magic.quantities import size_text

if TYPE_CHECKING:
    from codeexec_magic.store import JobState

#: what ended a job, in words that fit after a colon
REASONS: Final = {
    Reason.OK: "",
    Reason.ERROR: "",
    Reason.EXIT: "the cell exited",
    Reason.TIMEOUT: "time limit",
    Reason.CPU: "processor time limit",
    Reason.MEMORY: "memory limit",
    Reason.DISK: "disk limit",
    Reason.OUTPUT: "output limit",
    Reason.SIGNAL: "killed by a signal",
    Reason.CANCELLED: "",
    Reason.INTERNAL: "the sandbox broke",
    Reason.WORKER_LOST: "the worker died",
}


def short(task_id: str) -> str:
    """The part of an id that is shown, and that names the job in every magic."""
    return one_line(task_id[:8])


def headline(state: JobState) -> str:
    """The words on the pill: what is going on, and what is special about it."""
    word = WORDS[state.status][1]
    if state.cancelling:
        return "Cancelling"
    if state.status is Status.QUEUED:
        if state.listeners == 0:
            return f"{word} · no worker listens on {one_line(state.queue, 40)}"
        return f"{word} · {ordinal(state.position)} in line" if state.position else word
    if state.status is Status.RETRYING:
        due = state.next_try_in_s
        when = f" in {due:.0f} s" if due is not None and due >= 0.5 else ""
        return f"{word} {state.failures} of {state.retries}{when}"
    if state.status is Status.DEAD_LETTERED:
        why = REASONS.get(state.reason, "") if state.reason else ""
        word = "Dropped" if state.dropped else word
        return f"{word} after {plural(state.attempt, 'run')}" + (f": {why}" if why else "")
    if state.status is Status.FAILED and state.reason and REASONS.get(state.reason):
        return f"{word}: {REASONS[state.reason]}"
    if state.status is Status.RUNNING and state.attempt > 1:
        return f"{word}, {ordinal(state.attempt)} run"
    return word


def cached_words(state: JobState) -> str:
    """How old a cached result is and where it came from; empty if it is not cached."""
    if not state.cached:
        return ""
    old = f", {age(state.cached_age_s)} old" if state.cached_age_s is not None else ""
    source = f", from task {short(state.cached_from)}" if state.cached_from else ""
    return f"Cached{old}{source}"


def times(state: JobState) -> str:
    """How long it waited and ran; only what has happened."""
    if state.cached:
        return ""
    waited = f"waited {seconds(state.waited_s)}"
    return f"{waited} · ran {seconds(state.ran_s)}" if state.attempt or state.ran_s else waited


def place(state: JobState) -> str:
    """Queue and worker; nobody ran what came from the cache."""
    return one_line(state.queue, 40) + (f" · {one_line(state.worker, 48)}" if state.worker and not state.cached else "")


def shared(state: JobState) -> str:
    """Whose run it is, if that of an identical job that was there first."""
    return f"shares the run of {short(state.follows)}" if state.follows else ""


def advice(state: JobState, *, embedded: bool = False) -> list[str]:
    """Lines under the card: what stands in the way and what to do about it."""
    lines = []
    if state.status is Status.QUEUED and state.listeners == 0 and not state.cancelling:
        lines.append(
            f"{no_worker(state.queue)}; it starts as soon as one does: "
            + (
                "`%remote_cluster restart`"
                if embedded
                else f"`celery -A worker.app worker -Q {one_line(state.queue, 40)}`"
            )
        )
    repeats = state.reason is Reason.CANCELLED or state.verdict.startswith("error: ")
    if state.verdict and not repeats:  # a limit may be behind an error, and behind what a success left out
        lines.append(one_line(state.verdict, 300))
    if state.changed and not state.cached:
        lines.append(f"ran again: {', '.join(f'`{one_line(name, 40)}`' for name in state.changed)} changed")
    if state.files:
        lines.append(f"came back: {_file_list(state.files)}")
    if state.left_behind:
        lines.append(f"left behind: {_file_list(state.left_behind)}; `--download` brings files back")
    if state.status is Status.RUNNING and state.crashes:
        lines.append(f"{plural(state.crashes, 'worker')} died under this job; it runs again")
    if state.status is Status.DEAD_LETTERED and not state.dropped:
        lines.append(f"`%remote_dlq show {short(state.id)}` tells more; requeue, edit and drop are there too")
    return lines


def _file_list(files: Sequence[tuple[str, int]]) -> str:
    shown = ", ".join(f"{one_line(name, 60)} {size_text(size)}" for name, size in files[:5])
    return f"{shown} and {len(files) - 5} more" if len(files) > 5 else shown


def no_worker(queue: str) -> str:
    """The sentence for a queue nobody serves."""
    return f"0 workers listen on {one_line(queue, 40)}"


def card_html(
    state: JobState,
    *,
    live: bool = False,
    phase: float | None = None,
    name: bool = True,
    notes: Sequence[str] = (),
    trusted: bool = False,
) -> str:
    """One job as a card.

    Args:
        state: the job.
        live: it will be redrawn; otherwise it must stay true for ever.
        phase: where the pulse of the running dot stands, in seconds.
        name: the id is part of the card; where the card is redrawn it stands beside it instead.
        notes: lines under the card.
        trusted: its output was shown unsanitised.
    """
    glyph = WORDS[state.status][0]
    kind = "warn" if state.status is Status.QUEUED and state.listeners == 0 else str(state.status)
    # the separators have no width: they are there for viewers that drop the style sheet
    gap = '<span class="cxm-sep"> · </span>'
    parts = [pill(kind, glyph, headline(state), phase=phase if state.status is Status.RUNNING else None)]
    if state.cached:
        parts.append(pill("cached", "⚡", cached_words(state)))
    if trusted:
        parts.append(pill("warn", "⚠", "trusted: HTML not sanitised"))
    if name:
        parts.append(theme.task_id(state.id))
    parts.append(f'<span class="cxm-dim">{escaped(place(state), 100)}</span>')
    if whose := shared(state):
        parts.append(f'<span class="cxm-dim">{escaped(whose)}</span>')
    if spans := times(state):
        parts.append(f'<span class="cxm-dim cxm-num">{escaped(spans)}</span>')
    told = "".join(map(theme.note, notes))
    attributes = f' data-state="{state.status}" data-task="{escaped(state.id)}"'
    body = f'<div class="cxm-row">{gap.join(parts)}</div>{_bar(state)}{told}'
    return theme.frame(body, live=live, attributes=attributes)


def _bar(state: JobState) -> str:
    """Waiting and running to scale."""
    total = state.waited_s + state.ran_s
    if state.status is Status.QUEUED or (total <= 0 and not state.status.terminal):
        segments = '<i class="cxm-wait" style="flex:1"></i>' if state.waited_s else ""
    else:
        wait = 100 * state.waited_s / total if total > 0 else 0.0
        grey = f'<i class="cxm-wait" style="width:{wait:.1f}%"></i>' if wait >= 0.5 else ""
        segments = f'{grey}<i style="flex:1"></i>'
    title = escaped(times(state) or cached_words(state))
    return f'<div class="cxm-bar cxm-{state.status}" title="{title}">{segments}</div>'


def card_text(state: JobState, *, notes: Sequence[str] = (), trusted: bool = False) -> str:
    """The card for terminals and for viewers without HTML."""
    glyph = "⚡" if state.cached else WORDS[state.status][0]
    words = cached_words(state) if state.cached else headline(state)
    parts = [
        f"{glyph} {words}",
        short(state.id),
        place(state),
        shared(state),
        times(state),
        "trusted" if trusted else "",
    ]
    return "\n".join(
        ["  ".join(part for part in parts if part), *(f"  {one_line(line, 400).replace('`', '')}" for line in notes)]
    )


def submitted(state: JobState) -> str:
    """What is true of a job from its submission on, and how to see it."""
    name = short(state.id)
    return f"task {name} submitted to {one_line(state.queue, 40)} (%remote_attach {name})"


def status_line(state: JobState) -> str:
    """The same in one line that is rewritten while the job goes on."""
    parts = [f"{WORDS[state.status][0]} {headline(state)}", short(state.id), place(state), shared(state), times(state)]
    return "  ".join(part for part in parts if part)
