"""Images: their size is read from their headers, and pixels, frames and scans are bounded."""

from __future__ import annotations

import base64
import io

import pytest

from codeexec_magic.display import images


def encoded(content: bytes) -> str:
    """Base64."""
    return base64.b64encode(content).decode()


def png(width: int, height: int, frames: int = 1) -> bytes:
    """A PNG's header, for an animated one with its number of frames."""
    header = (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0crc_"
    )
    return header + b"\0\0\0\x08acTL" + frames.to_bytes(4, "big") + bytes(4) + b"crc_"


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of empty frames."""
    frame = b"\x2c" + bytes(4) + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0\x02\x01\x01\0"
    return b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\0\0\0" + frame * frames + b";"


def jpeg(width: int, height: int, scans: int = 1) -> bytes:
    """The markers of a JPEG."""
    size = b"\xff\xc2\0\x0b\x08" + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\1\1\x11\0"
    return b"\xff\xd8" + size + b"\xff\xda\0\x08\1\1\0\0\x3f\0data" * scans + b"\xff\xd9"


@pytest.mark.parametrize(
    ("mime", "content", "expected"),
    [
        ("image/png", png(640, 480), 640 * 480),
        ("image/png", png(50_000, 50_000), None),
        ("image/png", png(1, 2_000_000_000), None),
        ("image/png", png(2000, 2000, 100_000), None),
        ("image/gif", gif(10, 20, 3), 600),
        ("image/gif", gif(4000, 4000, 1000), None),
        ("image/jpeg", jpeg(640, 480), 640 * 480),
        ("image/jpeg", jpeg(65_000, 65_000), None),
        ("image/jpeg", jpeg(640, 480, scans=1000), None),
        ("image/png", jpeg(1, 1), None),
        ("image/png", b"", None),
        ("image/gif", b"GIF89a", None),
        ("image/bmp", png(1, 1), None),
    ],
)
def test_size(mime: str, content: bytes, expected: int | None) -> None:
    """Bombs announce themselves."""
    assert images.pixels(mime, encoded(content)) == expected


def test_real_images_pass() -> None:
    """What Pillow writes, in each format."""
    from PIL import Image

    image = Image.new("RGB", (70, 50), "red")
    for kind in ("png", "jpeg", "gif", "webp"):
        written = io.BytesIO()
        options = {"progressive": True} if kind == "jpeg" else {}
        image.save(written, kind, **options)
        assert images.pixels(f"image/{kind}", encoded(written.getvalue())) == 3500, kind
        assert images.data_url_pixels(f"data:image/{kind};base64,{encoded(written.getvalue())}") == 3500
    written = io.BytesIO()
    image.save(written, "gif", save_all=True, append_images=[image.rotate(90), image.rotate(45)])
    assert images.pixels("image/gif", encoded(written.getvalue())) in (7000, 10_500)
    assert images.data_url_pixels("data:image/svg+xml;base64,PHN2Zz4=") is None
