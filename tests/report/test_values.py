"""Values in a few words."""

from __future__ import annotations

import errno
import re
import signal
from enum import Enum, Flag
from typing import NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsim.cells import Handle, World
from mmsim.report.values import show
from mmsim.verdict import WAITING


class Page(Handle):
    pass


PAGE = World().handle(Page, "page1")


class Tag(Enum):
    TOWRITE = 2


class Seals(Flag):
    SHRINK = 2
    WRITE = 8


class Pair(NamedTuple):
    first: int
    second: bytes


@attrs.frozen
class Pte:
    page: Page | None = None
    write: bool = False
    dirty: bool = False
    flags: frozenset[Tag] = frozenset()
    count: int = 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"", '""'),
        (bytes(4096), "zeros"),
        (b"\0", "zeros"),
        (b"new " * 1024, '"new "'),
        (b"x" * 4096, '"x"'),
        (b"ab\0\0" * 1024, '"ab\\0\\0"'),
        (b"\xff\x00" * 2048, "0xff00"),
        (bytes(range(64)), "0x000102030405060708090a0b0c0d0e0f1011121314151617... (64 bytes)"),
        (b'"\\', '"\\"\\\\"'),
        (PAGE, "page1"),
        (Tag.TOWRITE, "TOWRITE"),
        (Seals.WRITE, "WRITE"),
        (Seals.WRITE | Seals.SHRINK, "SHRINK|WRITE"),
        (signal.SIGBUS, "SIGBUS"),
        (WAITING, "WAITING"),
        (-errno.EBUSY, f"-{int(errno.EBUSY)}"),
        (True, "True"),
        (None, "None"),
        ("asked", "asked"),
        ((), "()"),
        ((1,), "(1,)"),
        ((1, PAGE), "(1, page1)"),
        ((b"old",) * 4, '("old" x 4)'),
        (frozenset({Tag.TOWRITE, PAGE}), "{TOWRITE, page1}"),
        ({PAGE: 1}, "{page1: 1}"),
        (show, "show"),
        (Pair(1, b"a"), 'Pair(first=1, second="a")'),
        (Pte(), "Pte(count=0)"),
        (Pte(PAGE, write=True, flags=frozenset({Tag.TOWRITE})), "Pte(page1, write, flags={TOWRITE}, count=0)"),
    ],
)
def test_show(value, text):
    assert show(value) == text


@given(st.binary(max_size=8), st.integers(1, 600))
def test_bytes_are_always_short(pattern, times):
    assert len(show(pattern * times)) <= 40
    assert not re.search(r"[\n\r\x00]", show(pattern * times))
