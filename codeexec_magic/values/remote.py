"""A value that stays away: no safe format carries it, so it is a pickle, and pickles are opened in sandboxes only."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from codeexec_magic.errors import BadRequest
from codeexec_magic.hostile_text import one_line, plain_text
from codeexec_magic.quantities import size_text

if TYPE_CHECKING:
    from codeexec_magic.values.ref import ValueRef
    from codeexec_magic.values.store import ValueStore


class UntrustedValue(BadRequest):
    """A pickle runs code when it is opened: fetch(trusted=True) does that here, with all your rights."""


class RemoteValue:
    """A handle on a value in the content store: type, size and preview, and the way to use it.

    Send it to another remote cell, with ``--in`` or ``inputs=``: there it is the value itself, on any worker.
    """

    def __init__(self, ref: ValueRef, store: ValueStore) -> None:
        """Made from what a job's record says.

        Args:
            ref: of a pickled value.
            store: where its bytes are.
        """
        self.ref = ref
        self._store = store

    @property
    def type(self) -> str:
        """Name of the value's type, as the cell said."""
        return one_line(self.ref.type, 120)

    @property
    def size(self) -> int:
        """Bytes of the pickle."""
        return self.ref.size

    @property
    def preview(self) -> str:
        """The beginning of the value's text, as the cell said."""
        return plain_text(self.ref.preview, 4096)

    def fetch(self, *, trusted: bool = False) -> Any:
        """Unpickle the value here, which runs whatever code the cell put into it, with all your rights.

        Args:
            trusted: say that you trust the code that made it, and everything that the code had as input.

        Raises:
            UntrustedValue: ``trusted`` was not said.
            ValueLost: the value has expired.
            BadRequest: the pickle cannot be opened with the libraries that are here.
        """
        if trusted is not True:
            raise UntrustedValue
        import pickle

        from codeexec_magic.values.codec import container

        header, parts = container.unpack(self._store.load(self.ref))
        if header["kind"] != "pickle" or len(parts) != 1:
            raise BadRequest(f"the value of type {self.type} is damaged: run the cell again")
        try:
            return pickle.loads(parts[0])  # noqa: S301 - the caller said that the cell is trusted
        except Exception as err:
            made = f"made by Python {one_line(self.ref.python, 16)}" if self.ref.python else "made elsewhere"
            what = f"the value of type {self.type}, {made}, cannot be opened here"
            raise BadRequest(f"{what}: {type(err).__name__}: {one_line(err, 300)}") from None

    def __repr__(self) -> str:
        return f"<RemoteValue {self.type}, {size_text(self.size)}: {one_line(self.ref.preview, 100)}>"

    def _repr_html_(self) -> str:
        about = "stays away from this kernel: send it to a remote cell with --in, or fetch(trusted=True)"
        text = html.escape(self.preview)
        return (
            f"<div><code>{html.escape(self.type)}</code> &middot; {size_text(self.size)} &middot; {about}"
            f"<pre>{text}</pre></div>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a RemoteValue belongs to its client: send it with --in or inputs=")
