"""Pillow images: their pixels as they are, so that no decoder of image files meets bytes of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .errors import Damaged, NotCarried

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .decode import Decoder, Reader
    from .encode import Encoded, Encoder, Rule

_MODES: Final = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"})
_MAX_SIDE: Final = 1 << 20


def rule(kind: type) -> Rule | None:
    """How values of exactly this type are encoded: images of any file format, which are pixels by now."""
    from PIL import Image

    return _image if issubclass(kind, Image.Image) and kind.__module__.partition(".")[0] == "PIL" else None


def _image(encoder: Encoder, value: Any, path: str) -> Encoded:
    if value.mode not in _MODES or getattr(value, "n_frames", 1) != 1:
        raise NotCarried(f"{path} is an image of mode {value.mode} with {getattr(value, 'n_frames', 1)} frames")
    pixels = value.tobytes()
    palette = None
    if value.mode == "P":
        kind = value.palette.mode if value.palette else "RGB"
        palette = [kind, encoder.encode(bytes(value.getpalette(kind) or ()), path)]
    info = encoder.encode(dict(value.info), f"{path}.info")
    return {
        "$": "image",
        "mode": value.mode,
        "size": list(value.size),
        "palette": palette,
        "info": info,
        "part": encoder.part(pixels),
    }


def _read_image(decoder: Decoder, data: Any) -> Any:
    from PIL import Image

    mode, size, part = data["mode"], tuple(data["size"]), decoder.part(data["part"])
    if mode not in _MODES or len(size) != 2 or not all(type(n) is int and 0 <= n <= _MAX_SIDE for n in size):
        raise Damaged("no image")
    row = -(-size[0] // 8) if mode == "1" else size[0] * _pixel_bytes(mode)
    if row * size[1] != part.nbytes:
        raise Damaged("an image whose length is not what its size says")
    image = Image.frombytes(mode, size, bytes(part)) if part.nbytes else Image.new(mode, size)
    if data["palette"] is not None:
        kind, colours = data["palette"][0], decoder.decode(data["palette"][1])
        if mode != "P" or kind not in ("RGB", "RGBA") or not isinstance(colours, bytes) or len(colours) > 1024:
            raise Damaged("no palette")
        image.putpalette(colours, kind)
    info = decoder.decode(data["info"])
    if not isinstance(info, dict):
        raise Damaged("no image")
    image.info = info
    return image


def _pixel_bytes(mode: str) -> int:
    known = {"L": 1, "P": 1, "LA": 2, "I;16": 2, "RGB": 3, "YCbCr": 3, "LAB": 3, "HSV": 3}
    return known.get(mode, 4)


READERS: Final[Mapping[str, Reader]] = {"image": _read_image}
