"""What is said over the line to the executor, and what comes back.

A frame to the executor is its length in four bytes and then programs; a frame from it has a magic before that, for a
serial line may have had a boot loader's words on it.  With qemu, whose serial line is slow, a frame lies in memory that
both sides share and only its length (and magic) goes over the line.  Numbers are written seven bits a byte, the lowest
first, and signed ones with the sign in their lowest bit.

    program      how many calls, then each: verb * PROCESSES + process, then its arguments, signed
    answer       value * 4 + what it is: NOTHING; a SIGNAL's number; a NUMBER, signed; CONTENT, the number of runs,
                 after which come each run's length and its byte

A program with files of huge pages has them as large as small ones, like the model: what is a byte of it is HUGE_UNIT of
them in the kernel, which nobody but the executor knows.

After the answers of a frame come two numbers: the microseconds that programs of one process took, and the others.
"""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Iterable
from typing import Final

import attrs

from mmsim.conformance.real import ARENA, FIRST
from mmsim.conformance.sequential.program import ARENA_LENGTH, FILES, LARGEST, PROCESSES, Answer, Call, Program
from mmsim.syscalls import PAGE_SIZE

HELLO: Final = b"mmsim-hello\n"
ANSWERS: Final = b"mmsim-answers\n"
CREDIT: Final = 1024
"""So many bytes are sent to user-mode Linux, whose terminal loses what it has no room for, until it asks for more."""
SHARED_HALF: Final = 4 << 20
"""Bytes for programs, and for answers after them, in the memory that a guest of qemu shares."""
MORE: Final = b"+"
HUGE_PAGE: Final = 2 << 20
LENGTH: Final = struct.Struct("<I")
LOW_BITS, MORE_FOLLOWS = 0x7F, 0x80
NOTHING, SIGNAL, NUMBER, CONTENT = range(4)

ARGUMENTS: Final = {
    "memfd_create": 1,
    "open": 2,
    "reopen": 2,
    "dup": 1,
    "close": 1,
    "ftruncate": 2,
    "fallocate": 4,
    "fchmod": 2,
    "read": 2,
    "write": 3,
    "pread": 3,
    "pwrite": 4,
    "mmap": 6,
    "munmap": 2,
    "mprotect": 3,
    "mremap": 5,
    "madvise": 3,
    "load": 2,
    "store": 3,
    "add_seals": 2,
    "get_seals": 1,
    "fork": 0,
    "exit": 0,
    "pass_fd": 2,
}
"""How many numbers each verb takes on the line; a verb's own number is its place here."""
VERBS: Final = {verb: number for number, verb in enumerate(ARGUMENTS)}


@attrs.frozen
class Garbled(ValueError):
    """What came back is no answer to what was asked."""

    why: str


def header() -> str:
    """protocol.h, with which the executor is compiled."""
    lines = [f"#define {verb.upper()} {number}" for verb, number in VERBS.items()]
    kinds = {"NOTHING": NOTHING, "SIGNAL": SIGNAL, "NUMBER": NUMBER, "CONTENT": CONTENT}
    lines += [f"#define {name} {value}" for name, value in kinds.items()]
    lines += [
        f"#define ARENA {ARENA:#x}L",
        f"#define ARENA_LENGTH {ARENA_LENGTH}L",
        f"#define SHARED_HALF {SHARED_HALF}",
        f"#define CREDIT {CREDIT}",
        f"#define MORE {_quoted(MORE.decode())}",
        f"#define FIRST {FIRST}",
        f"#define LARGEST {LARGEST}",
        f"#define PAGE {PAGE_SIZE}",
        f"#define HUGE_UNIT {HUGE_PAGE // PAGE_SIZE}",
        f"#define PROCESSES {PROCESSES}",
        f"#define FILES {len(FILES)}",
        f"#define FILE_NAMES {{ {', '.join(map(_quoted, FILES))} }}",
        f"#define ARGUMENTS_OF {{ {', '.join(map(str, ARGUMENTS.values()))} }}",
        f"#define HELLO_MAGIC {_quoted(HELLO.decode())}",
        f"#define ANSWERS_MAGIC {_quoted(ANSWERS.decode())}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)  # as C has it, for these texts


def encoded(programs: Iterable[Program]) -> bytes:
    """These programs, as what a frame holds."""
    out = bytearray()
    for program in programs:
        _put(out, len(program))
        for call in program:
            _put(out, VERBS[call.verb] * PROCESSES + call.process)
            for number in _numbers(call):
                _put(out, number << 1 if number >= 0 else (-number << 1) - 1)
    return bytes(out)


def _numbers(call: Call) -> tuple[int, ...]:
    """The arguments as the line has them: a memfd's name is never asked for, and a file is its place in FILES."""
    match call.verb:
        case "memfd_create":
            return call.arguments[1:]
        case "open":
            name, flags = call.arguments
            return FILES.index(name), flags
    return call.arguments


def _put(out: bytearray, value: int) -> None:
    while value > LOW_BITS:
        out.append(value & LOW_BITS | MORE_FOLLOWS)
        value >>= 7
    out.append(value)


class _Reader:
    """Numbers out of a frame.  Garbled where it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        """One of them."""
        value = shift = 0
        try:
            while True:
                byte = self._data[self._at]
                self._at += 1
                value |= (byte & LOW_BITS) << shift
                if byte < MORE_FOLLOWS:
                    return value
                shift += 7
        except IndexError:
            raise Garbled("a message ends too early") from None

    def answer(self) -> Answer:
        """One of those."""
        head = self.number()
        value = head >> 2
        kind = head & 3
        if kind == NUMBER:
            return -(value >> 1) - 1 if value & 1 else value >> 1
        if kind == CONTENT:
            return b"".join(length * bytes((self.number() & 0xFF,)) for length in self._lengths(value))
        return signal.Signals(value).name if kind == SIGNAL else None

    def _lengths(self, runs: int) -> Iterable[int]:
        return (self.number() for _ in range(runs))

    def ended(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)


def decoded(frame: bytes, programs: Iterable[Program]) -> tuple[list[tuple[Answer, ...]], tuple[float, float]]:
    """The answers to these programs, and the seconds that programs of one process and of several took.

    Garbled where there are too few answers or too many.
    """
    reader = _Reader(frame)
    answers = [tuple(reader.answer() for _ in program) for program in programs]
    alone, several = reader.number() / 1e6, reader.number() / 1e6
    if not reader.ended():
        raise Garbled("there are more answers than calls")
    return answers, (alone, several)
