"""Values that have no safe form, as pickles: they are made here, and only a sandbox opens them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .container import Packed
from .encode import type_name
from .errors import NotCarried


def pack_pickle(value: Any, name: str, dumps: Callable[[Any], bytes], preview: str = "") -> Packed:
    """A value that only a sandbox may open.

    Args:
        value: the value.
        name: of the variable, which a reason starts with.
        dumps: makes the pickle.
        preview: beginning of the value's text.

    Raises:
        NotCarried: the value cannot be pickled either.
    """
    try:
        data = dumps(value)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as err:  # whatever the value's own methods raise
        kind = type_name(value)
        raise NotCarried(f"{name} is a {kind}, which cannot be pickled: {type(err).__name__}: {err}") from None
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    header = {"kind": "pickle", "type": type_name(value), "python": python, "preview": preview[:1000]}
    return Packed(header, [data])
