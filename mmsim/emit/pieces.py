"""The C helpers of an emitted program: of `c/*.c` those pieces that it uses, and no other.

A piece is a definition with the comment before it, set off by empty lines.  What a piece uses is found by name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from importlib import resources
from typing import Final

import attrs

FILES: Final = (
    "tap",
    "content",
    "faults",
    "threads",
    "mounts",
    "ext4",
    "chattr",
    "device",
    "aio",
    "uring",
    "process_vm",
    "proc_mem",
    "uffd",
    "udmabuf",
    "move_pages",
    "page_scan",
    "files",
    "pipes",
)
"""In the order in which they stand in a program."""

_UNREAD = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_WORD = re.compile(r"struct \w+|(?<![.>])\b[A-Za-z_]\w*")  # a member of a struct is nothing defined here
_DEFINES = (
    re.compile(r"#define (\w+)"),
    re.compile(r"(struct \w+) \{"),
    re.compile(r"static [\w \*]*?(\w+)\("),
    re.compile(r"static [\w \*]*?(\w+)(?:\[|;| =)"),
    re.compile(r"static struct \{.*\} (\w+);", re.DOTALL),
)


@attrs.frozen
class Piece:
    """One definition."""

    name: str
    text: str
    file: str

    @property
    def uses(self) -> frozenset[str]:
        """Every word in it that is no comment and no string."""
        return words(self.text) - {self.name}


def words(text: str) -> frozenset[str]:
    """The words of C code."""
    return frozenset(_WORD.findall(_UNREAD.sub(" ", text)))


@functools.cache
def pieces() -> tuple[Piece, ...]:
    """All there are, in order."""
    found = []
    for file in FILES:
        depth, lines = 0, list[str]()
        for line in [*_text(file).splitlines(), ""]:
            if line.startswith("#include"):
                continue
            if not line and not depth:
                if lines:
                    text = "\n".join(lines)
                    found.append(Piece(_defined(text), text, file))
                lines = []
                continue
            lines.append(line)
            plain = _UNREAD.sub("", line)
            depth += plain.count("{") - plain.count("}")
    return tuple(found)


def chosen(code: str, always: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """The `#include` lines and the pieces that this code uses, directly or not."""
    wanted = words(code) | set(always)
    while True:
        kept = [piece for piece in pieces() if piece.name in wanted]
        more = wanted.union(*(piece.uses for piece in kept))
        if more == wanted:
            break
        wanted = more
    files = dict.fromkeys(piece.file for piece in kept)
    includes = {line for file in files for line in _text(file).splitlines() if line.startswith("#include")}
    return sorted(includes), [piece.text for piece in kept]


def _text(file: str) -> str:
    return (resources.files("mmsim.emit") / "c" / f"{file}.c").read_text()


def _defined(text: str) -> str:
    code = re.sub(r"\A(?:/\*.*?\*/\n)+", "", text, flags=re.DOTALL)
    for pattern in _DEFINES:
        match = pattern.match(code)
        if match:
            return match[1]
    msg = f"a piece defines nothing: {code}"
    raise ValueError(msg)
