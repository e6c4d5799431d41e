"""Who is connected to a unix socket, as the kernel's socket diagnostics tell it."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_REQUEST_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_SHOW_NAME_AND_PEER: Final = 0x1 | 0x4
_ATTRIBUTE_NAME: Final = 0
_ATTRIBUTE_PEER: Final = 2
_HEADER: Final = struct.Struct("=IHHII")
_MESSAGE: Final = struct.Struct("=BBBBIII")
_ATTRIBUTE: Final = struct.Struct("=HH")


def other_clients(path: Path, own: Iterable[int]) -> int | None:
    """How many connections to the server at ``path`` belong to none of the processes ``own``.

    The server cannot tell: for it, a worker's connection on a unix socket looks like a kernel's.

    Returns:
        The number; None where the kernel gives no such information.
    """
    try:
        peers = {peer for name, peer in _dump() if peer and name == bytes(path)}
    except OSError:
        return None
    return len(peers - {inode for pid in own for inode in _sockets(pid)})


def _dump() -> Iterator[tuple[bytes, int]]:
    # struct unix_diag_req: family, protocol, padding, states, inode, what to show, cookie
    body = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_NAME_AND_PEER, 0xFFFFFFFF, 0xFFFFFFFF)
    request = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(5)
        netlink.sendto(request, (0, 0))
        while True:
            data = netlink.recv(65536)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, kind, *_ = _HEADER.unpack_from(data, offset)
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR or length < _HEADER.size:
                    raise OSError("socket diagnostics refused")
                yield _decode(data[offset + _HEADER.size : offset + length])
                offset += length + 3 & ~3


def _decode(message: bytes) -> tuple[bytes, int]:
    name, peer, offset = b"", 0, _MESSAGE.size
    while offset + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        if length < _ATTRIBUTE.size:
            break
        value = message[offset + _ATTRIBUTE.size : offset + length]
        if kind == _ATTRIBUTE_NAME:
            name = value.rstrip(b"\0")
        elif kind == _ATTRIBUTE_PEER:
            peer = int.from_bytes(value[:4], sys.byteorder)
        offset += length + 3 & ~3
    return name, peer


def _sockets(pid: int) -> Iterator[int]:
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for entry in entries:
        try:
            target = os.readlink(entry)  # noqa: PTH115 -- Path.readlink would parse "socket:[1]" as a path
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(target[8:-1])
