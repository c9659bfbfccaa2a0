"""What strace prints between the brackets of a call: tokens, arguments, and the values that are in them.

Follows the forms that strace 4.26 to 6.x prints (strace(1), and its own print functions): numbers in decimal, octal and
hexadecimal; names of flags joined by `|`, with numbers and comments among them; strings with C's escapes, cut short
as `"..."...`; structs, arrays and negated sets; descriptors with what they refer to (`3</memfd:a>(deleted)`);
`name=value`; `before => after`.  An argument that no call is asked for is split off and never looked into.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import signal
import stat
from typing import Final

import attrs

from mmsim import syscalls

WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NUMBER: Final = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
SOCKET: Final = re.compile(r"<[A-Za-z0-9_-]+:\[")
ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
LETTERS: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b"}
CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
WORD_BITS: Final = 64

CONSTANTS: Final[dict[str, int]] = {
    **{
        name: value
        for module in (os, fcntl, mmap, stat, syscalls)
        for name, value in vars(module).items()
        if isinstance(value, int) and re.match(r"(O|F|FD|S|MAP|PROT|MFD|MREMAP|MADV|FALLOC|AT|SEEK|SPLICE)_", name)
    },
    **{one.name: int(one) for one in signal.Signals},
    "NULL": 0,
    "AT_FDCWD": -100,
    "AT_EMPTY_PATH": 0x1000,
    "O_LARGEFILE": 0o100000,
    "__O_TMPFILE": 0o20000000,
    "O_PATH": 0o10000000,
    "F_DUPFD_CLOEXEC": 1030,
    "F_ADD_SEALS": 1033,
    "F_GET_SEALS": 1034,
    "F_SEAL_EXEC": 0x20,
    "FD_CLOEXEC": 1,
    "PROT_NONE": 0,
    "PROT_EXEC": 4,
    "PROT_SEM": 8,
    "PROT_GROWSDOWN": 0x01000000,
    "PROT_GROWSUP": 0x02000000,
    "MAP_SHARED_VALIDATE": 3,
    "MAP_FILE": 0,
    "MAP_32BIT": 0x40,
    "MAP_ABOVE4G": 0x80,
    "MAP_ANONYMOUS": 0x20,
    "MAP_GROWSDOWN": 0x100,
    "MAP_DENYWRITE": 0x800,
    "MAP_EXECUTABLE": 0x1000,
    "MAP_LOCKED": 0x2000,
    "MAP_NORESERVE": 0x4000,
    "MAP_POPULATE": 0x8000,
    "MAP_NONBLOCK": 0x10000,
    "MAP_STACK": 0x20000,
    "MAP_HUGETLB": 0x40000,
    "MAP_SYNC": 0x80000,
    "MAP_FIXED_NOREPLACE": 0x100000,
    "MREMAP_DONTUNMAP": 4,
    "MFD_HUGE_SHIFT": 26,
    "RWF_HIPRI": 1,
    "RWF_DSYNC": 2,
    "RWF_SYNC": 4,
    "RWF_NOWAIT": 8,
    "RWF_APPEND": 16,
    "FALLOC_FL_NO_HIDE_STALE": 4,
    "FALLOC_FL_COLLAPSE_RANGE": 8,
    "FALLOC_FL_INSERT_RANGE": 0x20,
    "FALLOC_FL_UNSHARE_RANGE": 0x40,
    "CLOSE_RANGE_UNSHARE": 2,
    "CLOSE_RANGE_CLOEXEC": 4,
    "CLONE_VM": 0x100,
    "CLONE_FS": 0x200,
    "CLONE_FILES": 0x400,
    "CLONE_SIGHAND": 0x800,
    "CLONE_PIDFD": 0x1000,
    "CLONE_PTRACE": 0x2000,
    "CLONE_VFORK": 0x4000,
    "CLONE_PARENT": 0x8000,
    "CLONE_THREAD": 0x10000,
    "CLONE_NEWNS": 0x20000,
    "CLONE_SYSVSEM": 0x40000,
    "CLONE_SETTLS": 0x80000,
    "CLONE_PARENT_SETTID": 0x100000,
    "CLONE_CHILD_CLEARTID": 0x200000,
    "CLONE_DETACHED": 0x400000,
    "CLONE_UNTRACED": 0x800000,
    "CLONE_CHILD_SETTID": 0x1000000,
    "CLONE_NEWCGROUP": 0x2000000,
    "CLONE_NEWUTS": 0x4000000,
    "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUSER": 0x10000000,
    "CLONE_NEWPID": 0x20000000,
    "CLONE_NEWNET": 0x40000000,
    "CLONE_IO": 0x80000000,
    "CLONE_CLEAR_SIGHAND": 0x100000000,
    "CLONE_INTO_CGROUP": 0x200000000,
}
"""What names of flags are worth; those of Python's modules are this architecture's own."""


class Unreadable(Exception):
    """Text that is not what strace prints, or not what this module can read; the message says what."""


@attrs.frozen
class Text:
    """A string: its bytes, and whether strace cut it short."""

    data: bytes
    cut: bool


def skip_string(text: str, at: int) -> int:
    """Behind the string that begins at `at`, and behind the dots that say it was cut short."""
    end = at + 1
    while end < len(text) and text[end] != '"':
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise Unreadable("a string does not end")
    end += 1
    return end + 3 if text.startswith("...", end) else end


def skip_annotation(text: str, at: int) -> int:
    """Behind the `<...>` that strace -y prints after a descriptor; sockets have arrows in square brackets there."""
    socket, end, depth = bool(SOCKET.match(text, at)), at, 0
    square = 0
    while end < len(text):
        letter = text[end]
        if letter == '"' and square:
            end = skip_string(text, end)
            continue
        square += (letter == "[") - (letter == "]") if socket else 0
        if not square:
            depth += (letter == "<") - (letter == ">")
        end += 1
        if not depth:
            return end + len("(deleted)") if text.startswith("(deleted)", end) else end
    raise Unreadable("what a descriptor refers to does not end")


def skip_comment(text: str, at: int) -> int:
    """Behind a comment, which may have another one in it."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return at + mark.end()
    raise Unreadable("a comment does not end")


def annotated(text: str, at: int) -> bool:
    """Whether the `<` at `at` opens what a descriptor refers to: it follows a number or AT_FDCWD at once."""
    before = re.search(r"(?:AT_FDCWD|(?<![A-Za-z0-9_])-?[0-9a-fA-Fx]+)$", text[max(at - 24, 0) : at])
    return bool(before) and at + 1 < len(text) and text[at + 1] not in "<= "


def split(text: str, at: int = 0, ends: str = ")") -> tuple[tuple[str, ...], int]:
    """The arguments from `at` on, and where the bracket that closes them is.  Raises Unreadable where none does."""
    arguments: list[str] = []
    open_brackets: list[str] = []
    began = at
    while at < len(text):
        letter = text[at]
        if letter == '"':
            at = skip_string(text, at)
            continue
        if text.startswith("/*", at):
            at = skip_comment(text, at)
            continue
        if letter == "<" and annotated(text, at):
            at = skip_annotation(text, at)
            continue
        if letter in CLOSING:
            open_brackets.append(CLOSING[letter])
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
        elif not open_brackets and letter in ends:
            last = text[began:at].strip()
            return (*arguments, *((last,) if last or arguments else ())), at
        elif letter in ")]}":
            msg = f"{letter!r} closes nothing"
            raise Unreadable(msg)
        elif letter == "," and not open_brackets:
            arguments.append(text[began:at].strip())
            began = at + 1
        at += 1
    raise Unreadable("the brackets of the call do not close")


def string(argument: str) -> Text | None:
    """The string, or None where strace printed a pointer: NULL, or an address that it could not read."""
    if not argument.startswith('"'):
        return None
    end = skip_string(argument, 0)
    cut = argument[:end].endswith('"...')
    body = argument[1 : end - (4 if cut else 1)]
    return Text(ESCAPE.sub(_unescaped, body.encode("utf-8", "surrogateescape")), cut)


def _unescaped(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = match.groups()
    if letter is not None:
        return LETTERS.get(letter, letter)
    return bytes((int(octal, 8) & 0xFF if octal is not None else int(hexadecimal, 16),))


def number(argument: str) -> int:
    """A number, or names and numbers joined by `|`.  Raises Unreadable naming what it does not know.

    Hexadecimal is how strace prints raw arguments, where a negative number has 32 or 64 bits.
    """
    plain, value = argument, 0
    while "/*" in plain:
        at = plain.index("/*")
        plain = plain[:at] + plain[skip_comment(plain, at) :]
    for part in plain.split("|"):
        value |= _term(part.strip(), argument)
    return value


def _term(part: str, whole: str) -> int:
    first, shift, second = part.partition("<<")
    if shift:
        bits = _term(second.strip(), whole)
        if 0 <= bits < WORD_BITS:
            return _term(first.strip(), whole) << bits
    if re.fullmatch(r"-?0[0-7]+", part):
        return int(part, 8)
    if re.fullmatch(r"-?(?:0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19})", part):
        return int(part, 0)
    if part in CONSTANTS:
        return CONSTANTS[part]
    msg = f"{part or whole!r} is no number and no flag that is known"
    raise Unreadable(msg)


def signed(argument: str, bits: int = WORD_BITS) -> int:
    """As `number`, but what a raw argument has beyond the sign bit is a negative number."""
    value = number(argument)
    if argument.startswith(("0x", "0X")) and value < 1 << bits and value >> (bits - 1):
        value -= 1 << bits
    return value


def descriptor(argument: str) -> int:
    """A file descriptor, whatever it is said to refer to."""
    at = argument.find("<")
    plain = argument[:at] if at > 0 and annotated(argument, at) else argument
    return signed(plain.strip(), 32)


def fields(argument: str) -> dict[str, str]:
    """The members of a struct that was printed, of what it became where it was changed; empty where it is a pointer."""
    inner = argument.rpartition(" => ")[2] if " => " in argument else argument
    inner = inner.strip()
    if not inner.startswith("{"):
        return {}
    members, _ = split(inner, 1, "}")
    return {name.strip(): value.strip() for name, sign, value in (m.partition("=") for m in members) if sign}


def elements(argument: str) -> tuple[str, ...]:
    """The elements of an array; empty where it is a pointer."""
    return split(argument, 1, "]")[0] if argument.startswith("[") else ()
