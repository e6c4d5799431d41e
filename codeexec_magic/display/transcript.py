"""The events of a job reduced to what a notebook would hold at that moment. Pure.

Used where output is shown as a whole: in the card of a job that runs in the background, when such a job ends, and
in a panel. Live output of a waiting cell goes through :mod:`~codeexec_magic.display.replay` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from codeexec_magic.display.sanitize import Policy

Output = dict[str, Any]

#: so many changes from one stream to the other are shown in their exact order. After that, text of both that arrives
#: together is put together by stream: each change costs the kernel and the front end a message, however short the text
EXACT_SWITCHES: Final = 1000


class Transcript:
    """Outputs in nbformat's shape, in order.

    Args:
        policy: what may be shown.
        tail: characters of stream text kept when outputs are read with :meth:`latest`.
    """

    def __init__(self, policy: Policy, tail: int = 64_000) -> None:
        self.policy = policy
        self.outputs: list[Output] = []
        #: grows with every change, so that a reader redraws only what is new
        self.version = 0
        self._tail = tail
        self._clear_next = False
        self._runs = self._switches = 0

    def feed(self, event: Mapping[str, Any]) -> None:
        """Take one event into account; unknown ones are ignored."""
        kind = event["type"]
        if kind == "status":
            self._started_again(event)
            return
        if kind == "clear_output":
            self._clear_next = True
            if not event.get("wait"):
                self._clear()
            return
        if kind == "update_display_data":
            self._update(event)
            return
        if kind in ("stream", "truncated", "display_data", "execute_result"):
            if self._clear_next:
                self._clear()
            self.version += 1
            if kind in ("stream", "truncated"):
                self._write(event.get("name", "stdout"), stream_text(event))
            else:
                self.outputs.append(self._display(event))

    def error(self, ename: str, evalue: str, traceback: list[str]) -> None:
        """Add the error that ended the job."""
        self.version += 1
        self.outputs.append({"output_type": "error", "ename": ename, "evalue": evalue, "traceback": traceback})

    def latest(self) -> list[Output]:
        """The outputs for a live view: stream text is cut to its end, so that redrawing costs the same for ever."""
        left, kept = self._tail, []
        for output in reversed(self.outputs):
            if output["output_type"] != "stream":
                kept.append(output)
            elif left > 0:
                text = output["text"]
                cut = text if len(text) <= left else "… (all of it is shown when the job ends)\n" + text[-left:]
                kept.append({**output, "text": cut})
                left -= len(text)
        return kept[::-1]

    def _started_again(self, event: Mapping[str, Any]) -> None:
        """Output of an attempt that failed is not part of the outcome."""
        if event.get("status") == "running":
            self._runs += 1
            if self._runs > 1:
                self._clear()

    def _clear(self) -> None:
        self.version += 1
        self._clear_next = False
        self.outputs.clear()

    def _write(self, name: str, text: str) -> None:
        last = self.outputs[-1].get("name") if self.outputs else None  # a display has no name
        self._switches += last not in (None, name)
        if last == name:
            self.outputs[-1]["text"] += text
        elif last and self._switches > EXACT_SWITCHES and self.outputs[-2].get("name") == name:
            self.outputs[-2]["text"] += text
        else:
            self.outputs.append({"output_type": "stream", "name": name, "text": text})

    def _display(self, event: Mapping[str, Any]) -> Output:
        data = self.policy.bundle(event["data"])
        metadata = self.policy.metadata(data, event.get("metadata"))
        return {"output_type": "display_data", "data": data, "metadata": metadata, "transient": display_id(event)}

    def _update(self, event: Mapping[str, Any]) -> None:
        wanted = display_id(event)
        for output in self.outputs:
            if wanted and output.get("transient") == wanted:
                output |= self._display(event)
                self.version += 1


def display_id(event: Mapping[str, Any]) -> dict[str, str]:
    """The event's display id, if it has one, as a ``transient`` of its own."""
    transient = event.get("transient")
    found = transient.get("display_id") if isinstance(transient, Mapping) else None
    return {"display_id": str(found)} if found is not None else {}


def stream_text(event: Mapping[str, Any]) -> str:
    """The text of a stream event, or the sentence that stands for output that was not kept."""
    if event["type"] == "stream":
        return str(event["text"])
    dropped, events = event.get("bytes"), event.get("events")
    size = f"{dropped / 1024:,.0f} KB of " if isinstance(dropped, int | float) else ""
    name = str(event.get("name", "output"))
    if name == "display" and isinstance(events, int):
        name = f"{events:,} display{'' if events == 1 else 's'}"
    if event.get("why") == "room":
        return f"\n[{size}{name} removed: the server's memory was full]\n"
    return f"\n[{size}{name} beyond the output limit not kept]\n"
