"""A small assembler for the BPF programs that filter system calls."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping
from typing import Final

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
#: the call waits until the owner of the filter's listener has answered it
NOTIFY: Final = 0x7FC00000
_ERRNO: Final = 0x00050000

_LOAD, _AND, _GOTO, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
#: a conditional jump counts its way in one byte
_FARTHEST: Final = 255


def failure(number: int) -> int:
    """The verdict that makes a call fail with this error number; 0 makes it succeed without being done."""
    return _ERRNO | number


class Assembler:
    """Collects BPF instructions; jumps are counted in instructions from the next one."""

    def __init__(self) -> None:
        self.code: list[tuple[int, int, int, int]] = []

    def load(self, offset: int) -> None:
        """Load a word of ``struct seccomp_data``."""
        self.code.append((_LOAD, 0, 0, offset))

    def load_arg(self, index: int, *, high: bool = False) -> None:
        """Load the low or the high word of an argument."""
        self.load(16 + 8 * index + (4 if high else 0))

    def mask(self, bits: int) -> None:
        """Keep only ``bits`` of the loaded word."""
        self.code.append((_AND, 0, 0, bits))

    def if_equal(self, value: int, then: int = 0, otherwise: int = 0) -> None:
        """Jump by equality."""
        self.code.append((_EQUAL, then, otherwise, value & 0xFFFFFFFF))

    def if_at_least(self, value: int, then: int = 0, otherwise: int = 0) -> None:
        """Jump by unsigned comparison."""
        self.code.append((_AT_LEAST, then, otherwise, value))

    def answer(self, value: int) -> None:
        """End with this verdict."""
        self.code.append((_RETURN, 0, 0, value))

    def refuse(self, number: int = errno.EPERM) -> None:
        """End: the call fails with this error number."""
        self.answer(failure(number))

    def refuse_calls(self, numbers: Iterable[int], error: int = errno.EPERM) -> None:
        """Refuse each of these calls, the loaded word being the call's number."""
        for number in numbers:
            self.if_equal(number, 0, 1)
            self.refuse(error)

    def dispatch(self, actions: Mapping[int, int | Assembler], other: int) -> None:
        """End by what each call number has, found by halving: the kernel runs the program for every number it knows.

        Args:
            actions: a verdict, or rules on the arguments that end by a verdict, for each call number.
            other: the verdict for all other numbers.
        """
        starts: list[tuple[int, int | Assembler]] = []
        for number in sorted({0, *actions, *(number + 1 for number in actions)}):
            action = actions.get(number, other)
            if not starts or (starts[-1][1] is not action and starts[-1][1] != action):
                starts.append((number, action))
        bodies = list({id(action): action for _, action in starts if isinstance(action, Assembler)}.values())
        size = 2 * len(starts) - 1
        places, position = {}, size
        for body in bodies:
            places[id(body)] = position
            position += len(body.code)
        base = len(self.code)
        self._halve(starts, places, base)
        for body in bodies:
            self.code.extend(body.code)

    def _halve(self, starts: list[tuple[int, int | Assembler]], places: dict[int, int], base: int) -> None:
        if len(starts) == 1:
            action = starts[0][1]
            if isinstance(action, Assembler):
                self.code.append((_GOTO, 0, 0, places[id(action)] - (len(self.code) - base) - 1))
            else:
                self.answer(action)
            return
        middle = len(starts) // 2
        below = 2 * middle - 1
        assert below <= _FARTHEST, "the table of calls has too many gaps"
        self.if_at_least(starts[middle][0], below, 0)
        self._halve(starts[:middle], places, base)
        self._halve(starts[middle:], places, base)

    def program(self) -> bytes:
        """The bytes the kernel takes."""
        return b"".join(struct.pack("HBBI", *instruction) for instruction in self.code)
