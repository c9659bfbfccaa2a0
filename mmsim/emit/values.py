"""Numbers and content as they stand in a C program."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Final

from mmsim.syscalls import PAGE_SIZE

EMPTY: Final = '"", 0'
"""No bytes."""
LONGEST_TEXT: Final = 40
"""How long a literal may be, in bytes."""
PRINTABLE: Final = range(32, 127)
_EDGE_OF_ZEROS: Final = re.compile(rb"\0(?=[^\0])|[^\0](?=\0)")


def pairs(data: bytes) -> str:
    """`"late", PAGE_SIZE`: texts that repeat themselves, each with its length; zeros are an empty text."""
    found: list[tuple[bytes, int]] = []
    for text, length in _runs(data):
        if found and found[-1][0] == text and not found[-1][1] % max(len(text), 1):
            found[-1] = text, found[-1][1] + length
        else:
            found.append((text, length))
    return ", ".join(f'"{escaped(text)}", {size(length)}' for text, length in found)


def _runs(data: bytes) -> Iterator[tuple[bytes, int]]:
    """What `pairs` writes, from left to right."""
    if not any(data):
        yield from [(b"", len(data))] if data else []
        return
    for period in range(1, min(len(data), LONGEST_TEXT) + 1):
        text = data[:period]
        if 0 not in text and (text * (len(data) // period + 1))[: len(data)] == data:
            yield text, len(data)
            return
    zeros = None if len(data) > PAGE_SIZE else _EDGE_OF_ZEROS.search(data)
    cut = PAGE_SIZE if len(data) > PAGE_SIZE else zeros.start() + 1 if zeros else LONGEST_TEXT
    yield from _runs(data[:cut])
    yield from _runs(data[cut:])


def escaped(text: bytes) -> str:
    """The inside of a string literal."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\"}
    return "".join(plain.get(byte) or (chr(byte) if byte in PRINTABLE else f"\\{byte:03o}") for byte in text)


def size(number: int) -> str:
    """A number of bytes, in pages where it is so many."""
    count, rest = divmod(number, PAGE_SIZE)
    if rest or count <= 0:
        return str(number)
    return "PAGE_SIZE" if count == 1 else f"{count} * PAGE_SIZE"


def answered(answer: int) -> str:
    """What a call answered: an errno by its name."""
    return f"-{errno.errorcode[-answer]}" if -answer in errno.errorcode else size(answer)
