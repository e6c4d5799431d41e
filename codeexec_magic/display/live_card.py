"""The card that moves: ipywidgets, redrawn while the kernel is busy and found again after a page reload."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from codeexec_magic.display import theme
from codeexec_magic.display.parent_cell import ParentCell
from codeexec_magic.hostile_text import one_line

VIEW = "application/vnd.jupyter.widget-view+json"
#: cards of ended background jobs that are kept for pages that were reloaded meanwhile
_KEPT = 50
_kept: deque[LiveCard] = deque()

Action = Callable[[], None]

_STYLE = """<style>
.cxm-box{border:1px solid var(--jp-border-color2,#e0e0e0)!important;border-radius:6px;padding:8px 12px!important;
background:var(--jp-layout-color1,#fff);margin:4px 0!important}
.cxm-box .widget-html-content{line-height:inherit}.cxm-box .widget-html{overflow:visible}
.cxm-button.jupyter-button{height:24px;line-height:22px;font-size:12px;width:auto;padding:0 10px;border-radius:4px;
background:transparent;border:1px solid var(--jp-border-color1,#bdbdbd);color:var(--jp-ui-font-color1,#212121)}
.cxm-button.jupyter-button:hover:enabled{background:var(--jp-layout-color2,#eee)}
.cxm-button.jupyter-button:focus-visible{outline:2px solid var(--jp-brand-color1,#1976d2)}
.cxm-box .cxm-lost{display:none}.cxm-box.jupyter-widgets-disconnected .cxm-lost{display:block}
.cxm-box.jupyter-widgets-disconnected :is(.cxm-moving,.cxm-button){display:none!important}
.cxm-box .jp-OutputArea-child:first-child{margin-top:6px}
</style>"""


def available() -> bool:
    """Whether ipywidgets can be used."""
    try:
        import ipywidgets  # noqa: F401
    except ImportError:
        return False
    return True


class LiveCard:
    """A box with the card, buttons, and room for output; it shows, hides and closes, and knows nothing of jobs.

    Args:
        parent_cell: the cell.
        display_id: of the place kept for it.
        task_id: shown beside the card and never redrawn: a redraw would undo the selection of who copies it.
        instead: what clients without widgets show; it stays in a notebook that is saved meanwhile, so it must keep.
        output: make room for output.
    """

    def __init__(
        self, parent_cell: ParentCell, display_id: str, *, task_id: str = "", instead: str = "", output: bool = False
    ) -> None:
        import ipywidgets as widgets

        self._widgets = widgets
        self._parent_cell = parent_cell
        self._display_id = display_id
        self._instead = instead
        self._html = widgets.HTML(layout=widgets.Layout(flex="1 1 auto", min_width="0", margin="0"))
        style = widgets.HTML(_STYLE, layout=widgets.Layout(display="none"))
        self._bar = widgets.HBox(layout=widgets.Layout(flex="0 0 auto", margin="0"))
        lost = widgets.HTML(_lost(task_id), layout=widgets.Layout(margin="0"))
        self._html.add_class("cxm-moving")
        name = theme.frame(f'<div class="cxm-row">{theme.task_id(task_id)}</div>', live=True) if task_id else ""
        self._name = widgets.HTML(name, layout=widgets.Layout(flex="0 0 auto", margin="0"))
        row = widgets.HBox(
            [style, self._html, lost, self._name, self._bar],
            layout=widgets.Layout(align_items="flex-start", grid_gap="10px"),
        )
        self._extra = widgets.VBox(layout=widgets.Layout(margin="0"))
        self._output = widgets.Output() if output else None
        children = [row, self._extra, *([self._output] if self._output else [])]
        self.box = widgets.VBox(children)
        self.box.add_class("cxm-box")
        self._labels: tuple[str, ...] = ()
        for widget in self._all(self.box):
            answer_on_own_shell(widget)

    @property
    def view(self) -> dict[str, Any]:
        """The bundle that shows this card; clients without widgets show the text instead."""
        view = {VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}}
        return {**view, "text/plain": self._instead} if self._instead else view

    def draw(self, html: str) -> None:
        """Replace the card."""
        if self._html.value != html:
            self._html.value = html

    def buttons(self, actions: Mapping[str, Action], *, hint: str = "") -> None:
        """Offer exactly these; a button that was pressed is disabled until it is offered anew."""
        if self._labels == tuple(actions):
            return
        self._labels = tuple(actions)
        old = self._bar.children
        self._bar.children = [self._button(label, action, hint) for label, action in actions.items()]
        for button in old:
            _close(button)

    def insert(self, *children: Any) -> None:
        """Widgets between card and output."""
        old = self._extra.children
        self._extra.children = children
        for child in children:
            for widget in self._all(child):
                answer_on_own_shell(widget)
        for child in old:
            if child not in children:
                _close(child)

    def outputs(self, outputs: Sequence[Mapping[str, Any]]) -> None:
        """Replace the output below the card."""
        if self._output is not None:
            self._output.outputs = tuple({k: v for k, v in one.items() if k != "transient"} for one in outputs)

    def show(self, *, update: bool) -> None:
        """Put the card on the page: in the place kept for it, or as a new output."""
        self._parent_cell.publish(self.view, self._display_id, update=update)

    def hide(self) -> None:
        """Take it off the page; a page that was reloaded since does not hear of it and keeps it."""
        self._parent_cell.publish({}, self._display_id, update=True)

    def close(self) -> None:
        """Give up all models; closing the box alone would leave its parts behind."""
        _close(self.box)

    def keep(self) -> None:
        """Leave the models for pages that were reloaded, until many newer ones have been."""
        _kept.append(self)
        while len(_kept) > _KEPT:
            _kept.popleft().close()

    def _button(self, label: str, action: Action, hint: str) -> Any:
        button = self._widgets.Button(description=label, tooltip=hint)
        button.layout.width = "auto"
        button.add_class("cxm-button")
        answer_on_own_shell(button)

        def clicked(_: Any) -> None:
            button.disabled = True
            action()

        button.on_click(clicked)
        return button

    def _all(self, widget: Any) -> list[Any]:
        inner = [child for one in getattr(widget, "children", ()) for child in self._all(one)]
        return [widget, *inner]


def _lost(task_id: str) -> str:
    """What a card says that has lost its kernel: the style sheet shows it once the front end marks the widget so."""
    told = f"; `%remote_attach {one_line(task_id[:8])}` shows how its task goes on" if task_id else ""
    return theme.frame(f'<div class="cxm-lost">{theme.note(f"This card has lost its kernel{told}")}</div>', live=True)


def answer_on_own_shell(widget: Any) -> None:
    """Let clicks be handled where the front end sent them, not on the main thread, which is busy with the cell.

    ipykernel 7.4 sends whatever a front end says on a comm to the shell that wrote to it last.
    """
    comm = widget.comm
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default


def _close(widget: Any) -> None:
    for child in getattr(widget, "children", ()):
        _close(child)
    for part in ("layout", "style"):
        with contextlib.suppress(AttributeError):
            getattr(widget, part).close()
    widget.close()
