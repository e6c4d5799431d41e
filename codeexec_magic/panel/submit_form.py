"""The part of a panel that submits: a code box and what ``%%remote_exec`` would have on its line."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from codeexec_magic.contract import QUEUE_DEFAULT, QUEUES
from codeexec_magic.display import theme
from codeexec_magic.display.live_card import answer_on_own_shell
from codeexec_magic.panel import controls, options_line

#: a front end sends a click before the last keystrokes when these had to wait for their turn (seconds)
_TYPED_S = 0.12

#: choices of the cache switch, and the options they stand for
_CACHE = {"use the cache": "", "run anew, then cache": "--refresh", "no cache": "--no-cache"}

Submit = Callable[[str, str, str | None], None]


class SubmitForm:
    """Asks for code and options.

    Args:
        submit: called with code, the options as a line, and the id of the job that is edited, if one is.
        history: labels and sources of the notebook's cells, latest first.
        profiles: names of profiles.
    """

    def __init__(
        self, submit: Submit, history: Callable[[], Sequence[tuple[str, str]]], profiles: Callable[[], Sequence[str]]
    ) -> None:
        import ipywidgets as widgets

        self._submit, self._history = submit, history
        self._editing: str | None = None
        self._sources: list[tuple[str, str]] = []
        wide = widgets.Layout(width="100%", margin="0")
        self.area = widgets.Textarea(
            placeholder="Python to run on a worker · Tab indents · Shift-Enter submits · Shift-Tab leaves",
            rows=6,
            layout=wide,
        )
        self.area.add_class("cxm-code")
        self._from = self._choice("From", [("a cell of this notebook …", "")], width="250px")
        self._from.observe(self._prefill, "value")
        self.queue = self._choice("Queue", list(QUEUES), width="200px")
        self.queue.value = QUEUE_DEFAULT
        self._profile = self._choice("Profile", [("none", ""), *((name, name) for name in profiles())], width="150px")
        self._cache = self._choice("Cache", list(_CACHE.items()), width="190px")
        self._timeout = self._field("Timeout", "90 s")
        self._memory = self._field("Memory", "1GB")
        self._retries = self._field("Retries", "3")
        self._more = self._field("More", "--in a,b --network", width="230px")
        self._go = controls.button("Submit", self._clicked, hint="Shift-Enter", kind="cxm-submit")
        self._cancel = controls.button("Discard", self.clear)
        self._cancel.layout.display = "none"
        self._message = controls.html()
        for widget in (self.area, self._from, self.queue, self._profile, self._cache):
            answer_on_own_shell(widget)
        options = controls.line(
            self._timeout, self._memory, self._retries, self._cache, self._more, self._go, self._cancel
        )
        self.box = widgets.VBox(
            [
                controls.line(
                    controls.html('<div class="cxm"><h4>Submit</h4></div>'), self._from, self.queue, self._profile
                ),
                self.area,
                options,
                self._message,
            ],
            layout=widgets.Layout(margin="0", grid_gap="6px"),
        )
        self.refresh(())

    def refresh(self, queues: Sequence[str]) -> None:
        """Offer the cells that ran since, and the queues there are."""
        found = list(self._history())
        if found != self._sources:
            self._sources = found
            self._from.unobserve(self._prefill, "value")
            self._from.options = [("a cell of this notebook …", ""), *((label, code) for label, code in found)]
            self._from.value = ""
            self._from.observe(self._prefill, "value")
        names = tuple(dict.fromkeys((*QUEUES, *queues)))
        if names != tuple(self.queue.options):
            chosen = self.queue.value
            self.queue.options = names
            self.queue.value = chosen if chosen in names else QUEUE_DEFAULT

    def load(self, code: str, queue: str = "", *, options: str | None = None, editing: str | None = None) -> None:
        """Put code into the box.

        Args:
            code: the code.
            queue: chosen, if it is on offer.
            options: what stands behind ``%%remote_exec``; None leaves the fields as they are.
            editing: id of the dead letter whose code it is, and whose job then runs again.
        """
        self._editing = editing
        self.area.value = code
        if options is not None:
            self._fill(options)
        if queue in self.queue.options:
            self.queue.value = queue
        if editing:
            self._go.description, self._cancel.layout.display = "Requeue edited", ""
            self.say(f"Editing dead letter {editing[:8]}: it runs again under its id, with its own queue and limits")
        else:
            self._go.description, self._cancel.layout.display = "Submit", "none"
            self.say("")

    def clear(self) -> None:
        """Empty the box."""
        self.load("")

    def say(self, text: str, *, bad: bool = False) -> None:
        """A line beside the button."""
        kind = "cxm-bad" if bad else "cxm-dim"
        controls.draw(self._message, f'<span class="{kind}">{theme.escaped(text, 400)}</span>' if text else "")

    def line(self) -> str:
        """The options as they would stand behind ``%%remote_exec``."""
        words = ["--queue", str(self.queue.value)]
        for flag, value in (
            ("--profile", self._profile.value),
            ("--timeout", self._timeout.value.strip()),
            ("--memory", self._memory.value.strip()),
            ("--retries", self._retries.value.strip()),
        ):
            words += [flag, value] if value else []
        words += [self._cache.value] if self._cache.value else []
        more = self._more.value.strip()
        return f"{shlex.join(words)} {more}" if more else shlex.join(words)

    def _fill(self, options: str) -> None:
        """Show the options of a line in the fields that there are for them, and all others in the last one."""
        fields = {"--timeout": self._timeout, "--memory": self._memory, "--retries": self._retries}
        choices = {"--queue": self.queue, "--profile": self._profile}
        taken, rest = options_line.take(options, [*fields, *choices], ["--no-cache", "--refresh"])
        for flag, field in fields.items():
            field.value = taken.get(flag, "")
        for flag, choice in choices.items():
            offered = [one[1] if isinstance(one, tuple) else one for one in choice.options]
            value = taken.get(flag, QUEUE_DEFAULT if flag == "--queue" else "")
            if value in offered:
                choice.value = value
            else:
                rest = f"{shlex.join([flag, value])} {rest}".strip()
        self._cache.value = taken.get("--no-cache") or taken.get("--refresh") or ""
        self._more.value = rest

    def _clicked(self) -> None:
        # not here: the rest of what was typed comes through the very thread that runs this
        threading.Thread(target=self._when_typed, name="codeexec-panel-submit", daemon=True).start()

    def _when_typed(self) -> None:
        self._go.disabled = True
        try:
            before = None
            while before != (typed := (self.area.value, self.line())):
                before = typed
                time.sleep(_TYPED_S)
            self._submit(self.area.value, self.line(), self._editing)
        finally:
            self._go.disabled = False

    def _prefill(self, change: Any) -> None:
        if change["new"]:
            options, code = options_line.split_source(change["new"])
            self.load(code, options=options)

    def _choice(self, label: str, options: Sequence[Any], *, width: str) -> Any:
        return self._labelled("Dropdown", label, width, options=options)

    def _field(self, label: str, hint: str, *, width: str = "130px") -> Any:
        made = self._labelled("Text", label, width, placeholder=hint)
        answer_on_own_shell(made)
        return made

    @staticmethod
    def _labelled(kind: str, label: str, width: str, **options: Any) -> Any:
        import ipywidgets as widgets

        made = getattr(widgets, kind)(
            description=label,
            layout=widgets.Layout(width=width, margin="0"),
            style={"description_width": "initial"},
            **options,
        )
        made.add_class("cxm-field")
        return made
