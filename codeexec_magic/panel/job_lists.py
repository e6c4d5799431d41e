"""The lists of a panel: jobs and dead letters, with their filters and buttons."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from codeexec_magic.contract import QUEUES, Status
from codeexec_magic.display import render, tables, theme
from codeexec_magic.display.live_card import answer_on_own_shell
from codeexec_magic.display.theme import WORDS, age, escaped, pill, plural
from codeexec_magic.hostile_text import one_line
from codeexec_magic.panel import controls
from codeexec_magic.panel.job_detail import new_cell
from codeexec_magic.store.monitor import Query

if TYPE_CHECKING:
    from codeexec_magic.store.dead_letters import DeadLetter
    from codeexec_magic.store.monitor import JobRow, Reading

#: rows on a page
JOBS, LETTERS = 10, 6

Act = Callable[[str], None]


class Filters:
    """What of all jobs is shown.

    Args:
        changed: called when the user chose something else.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        import ipywidgets as widgets

        self._changed = changed
        self._whose = widgets.ToggleButtons(options=[("My jobs", "mine"), ("All jobs", "all")], value="all")
        self._whose.style.button_width = "auto"
        self._whose.add_class("cxm-toggle")
        self._queue = self._dropdown([("all queues", ""), *((name, name) for name in QUEUES)], "190px")
        words = [("any status", ""), *((WORDS[status][1], str(status)) for status in Status)]
        self._status = self._dropdown(words, "140px")
        self._text = widgets.Text(
            placeholder="id, label, worker or code", layout=widgets.Layout(width="190px", margin="0")
        )
        self._text.add_class("cxm-field")
        self.page = 0
        self._back = controls.button("‹", lambda: self._turn(-1), hint="newer")
        self._on = controls.button("›", lambda: self._turn(1), hint="older")
        for one in (self._whose, self._queue, self._status, self._text):
            answer_on_own_shell(one)
            one.observe(self._again, "value")
        self.box = controls.line(self._whose, self._queue, self._status, self._text, self._back, self._on)

    def query(self, ids: Sequence[str], *, samples: int, letters_page: int) -> Query:
        """What to read for it."""
        return Query(
            samples=samples,
            source=self._whose.value,
            ids=tuple(ids),
            status=self._status.value,
            queue=self._queue.value,
            text=self._text.value.strip(),
            offset=self.page * JOBS,
            limit=JOBS,
            letters_offset=letters_page * LETTERS,
            letters_limit=LETTERS,
        )

    def refresh(self, reading: Reading) -> None:
        """Offer the queues there are, and the pages."""
        options = (("all queues", ""), *((queue.name, queue.name) for queue in reading.queues))
        if tuple(self._queue.options) != options:
            chosen = self._queue.value
            self._queue.options = options
            self._queue.value = chosen if chosen in {value for _, value in options} else ""
        if self.page and not reading.jobs:
            self._turn(-self.page)  # what stood on this page has gone
        for widget, off in ((self._back, self.page == 0), (self._on, not reading.more)):
            if widget.disabled != off:
                widget.disabled = off

    def _turn(self, by: int) -> None:
        self.page = max(0, self.page + by)
        self._changed()

    def _again(self, _: Any) -> None:
        self.page = 0
        self._changed()

    def _dropdown(self, options: Sequence[Any], width: str) -> Any:
        import ipywidgets as widgets

        made = widgets.Dropdown(options=options, layout=widgets.Layout(width=width, margin="0"))
        made.add_class("cxm-field")
        return made


class JobList:
    """Jobs, a page of them."""

    def __init__(self, changed: Callable[[], None], open_: Act, cancel: Act) -> None:
        import ipywidgets as widgets

        self.filters = Filters(changed)
        self._rows = controls.Rows({"Open": open_, "Cancel": cancel}, width="130px")
        self._note = controls.html()
        self.box = widgets.VBox(
            [
                controls.line(controls.html('<div class="cxm"><h4>Jobs</h4></div>'), self.filters.box),
                controls.html(f'<div class="cxm">{_JOB_HEAD}</div>'),
                self._rows.box,
                self._note,
            ],
            layout=widgets.Layout(margin="0"),
        )

    def update(self, reading: Reading) -> None:
        """Show a reading."""
        self.filters.refresh(reading)
        self._rows.update([_job_item(row) for row in reading.jobs])
        controls.draw(self._note, "" if reading.jobs else '<div class="cxm-dim cxm-none">No jobs</div>')


class LetterList:
    """Dead letters, a page of them."""

    def __init__(
        self,
        changed: Callable[[], None],
        *,
        open_: Act,
        requeue: Act,
        edit: Act,
        drop: Act,
        requeue_all: Callable[[], None],
        purge: Callable[[], None],
    ) -> None:
        import ipywidgets as widgets

        self.page = 0
        self._count = 0
        self._changed = changed
        self._rows = controls.Rows({"Open": open_, "Requeue": requeue, "Edit": edit, "Drop": drop}, width="268px")
        self._title, self._note, self._story = controls.html(), controls.html(), controls.html()
        self._requeue_all = controls.Question("Requeue all", lambda: self._ask("Requeue"), requeue_all)
        self._purge = controls.Question("Purge", lambda: self._ask("Forget"), purge)
        self._back = controls.button("‹", lambda: self._turn(-1), hint="newer")
        self._on = controls.button("›", lambda: self._turn(1), hint="older")
        self._shut = controls.button("Close", lambda: self.tell(None))
        self._shut.layout.align_self, self._shut.layout.display = "flex-start", "none"
        head = controls.line(self._title, self._requeue_all.box, self._purge.box, self._back, self._on)
        self.box = widgets.VBox(
            [head, self._rows.box, self._note, self._shut, self._story], layout=widgets.Layout(margin="0")
        )

    def update(self, reading: Reading) -> None:
        """Show a reading."""
        self._count = reading.dead
        controls.draw(self._title, f"<h4>Dead letters · {reading.dead}</h4>")
        self._rows.update([_letter_item(letter) for letter in reading.letters])
        empty = "No dead letters" if not reading.dead else "No dead letters of this kind"
        controls.draw(self._note, "" if reading.letters else f'<div class="cxm-dim cxm-none">{empty}</div>')
        if self.page and not reading.letters:
            self._turn(-self.page)  # what stood on this page has gone
        last = len(reading.letters) < LETTERS or (self.page + 1) * LETTERS >= reading.dead
        for widget, off in ((self._back, self.page == 0), (self._on, last)):
            if widget.disabled != off:
                widget.disabled = off

    def tell(self, letter: DeadLetter | None) -> None:
        """Show everything about one; None: about none."""
        self._shut.layout.display = "none" if letter is None else ""
        if letter is None:
            controls.draw(self._story, "")
            return
        link = new_cell(_requeue(letter), "Edit in a new cell")
        controls.draw(self._story, f"{link}{tables.dead_letter_html(letter)}")

    def _turn(self, by: int) -> None:
        self.page = max(0, self.page + by)
        self._changed()

    def _ask(self, verb: str) -> str | None:
        return f"{verb} {plural(self._count, 'dead letter')}?" if self._count else None


_JOB_HEAD = (
    '<div class="cxm-jobrow cxm-head"><span>Task</span><span>Status</span><span>Cell</span><span>Worker · queue</span>'
    '<span class="cxm-n">Run</span><span class="cxm-n">Age</span><span class="cxm-n">Time</span></div>'
)


def _job_item(row: JobRow) -> controls.Item:
    state = row.state
    if state.cached:
        status = pill("cached", "⚡", render.cached_words(state).partition(", from")[0])
    else:
        kind = "warn" if state.status is Status.QUEUED and not state.listeners else str(state.status)
        words = _brief(row)
        status = pill(kind, WORDS[state.status][0], words)
    run = f"{state.attempt}/{1 + state.retries}" if state.attempt else "–"
    tail = f'<span class="cxm-tail">{escaped(row.tail, 120)}</span>' if row.tail else ""
    cell = escaped(tables.first_line(state), 80) or '<span class="cxm-dim">(large cell)</span>'
    place = escaped(" · ".join(part for part in ("" if state.cached else state.worker, state.queue) if part), 90)
    # what no longer changes says when it was, so that it is not drawn anew every second
    body = (
        f'<div class="cxm-jobrow" data-task="{escaped(state.id)}" data-state="{state.status}">{theme.task_id(state.id)}'
        f'<span class="cxm-clip" title="{escaped(render.headline(state), 200)}">{status}</span>'
        f'<span class="cxm-clip cxm-what"><code>{cell}</code>{tail}</span>'
        f'<span class="cxm-clip cxm-dim" title="{place}">{place}</span><span class="cxm-n">{run}</span>'
        f'<span class="cxm-n cxm-dim">{age(row.age_s) if row.age_s >= 60 or not state.done else "< 1 min"}</span>'
        f'<span class="cxm-n cxm-dim">{escaped(_time(row))}</span></div>'
    )
    return controls.Item(state.id, body, ("Open",) if state.done else ("Open", "Cancel"))


def _brief(row: JobRow) -> str:
    """The pill of a row: as on a card, without what has a column of its own."""
    state = row.state
    word = WORDS[state.status][1]
    if state.status is Status.QUEUED and not state.listeners:
        return f"{word} · no worker"
    if state.status is Status.QUEUED and state.position and not state.cancelling:
        return f"{word} · {theme.ordinal(state.position)}"
    if state.status in (Status.QUEUED, Status.RETRYING) or state.cancelling:
        return render.headline(state)
    if state.status is Status.DEAD_LETTERED:
        word = "Dropped" if state.dropped else "Dead"
    if state.done and state.reason is not None and render.REASONS.get(state.reason):
        return f"{word}: {render.REASONS[state.reason]}"
    return word


def _time(row: JobRow) -> str:
    state = row.state
    if state.cached:
        return "–"
    if state.attempt or state.ran_s:
        return theme.seconds(state.ran_s)
    return f"waits {theme.seconds(state.waited_s)}"


def _letter_item(letter: DeadLetter) -> controls.Item:
    error = f"{letter.error.ename}: {letter.error.evalue}" if letter.error else letter.verdict
    link = new_cell(_requeue(letter), "edit in new cell") if letter.code else ""
    last = next((line for line in reversed(letter.last_output) if line.strip()), "")
    body = (
        f'<div class="cxm-letter" data-letter="{escaped(letter.task_id)}">{theme.task_id(letter.task_id)}'
        f'<span class="cxm-clip">{pill("dead_lettered", "☠", tables.why(letter) or "?")}</span>'
        f'<span class="cxm-clip cxm-dim">{escaped(letter.queue, 40)} · <code>{_cell(letter)}</code></span>'
        f'<span class="cxm-n">{len(letter.attempts)} ×</span>'
        f'<span class="cxm-n cxm-dim">{escaped(tables.when(letter.last_at)[11:19])}</span>{link or "<span></span>"}'
        f'<span class="cxm-clip cxm-all" title="{escaped(error, 400)}">{escaped(error or letter.verdict, 200)}'
        f'<span class="cxm-tail">{escaped(last, 120)}</span></span></div>'
    )
    return controls.Item(letter.task_id, body, ("Open", "Requeue", "Edit", "Drop"))


def _requeue(letter: DeadLetter) -> str:
    """A cell that runs it again."""
    return f"%%remote_dlq requeue {shlex.quote(one_line(letter.task_id[:8]))}\n{letter.code}"


def _cell(letter: DeadLetter) -> str:
    return escaped(tables.subject(letter), 60)
