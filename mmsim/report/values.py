"""Values as a reader wants them: short, by name, and alike wherever they are printed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

import attrs

from mmsim.cells import Named

LONGEST_PATTERN = 24
"""How many bytes, or characters of text, are printed before a value is cut."""
UNIT = 4
MOST_RUNS = 4
"""Bytes made of at most so many runs of a unit of so many bytes print as `"late"x512 "orig"x512`."""


def show(value: Any) -> str:
    """A value of a cell, of a step or of a thread, in a few words.

    Bytes that repeat a short pattern print as that pattern once, zero bytes as `zeros`; a kernel object, an enum's
    member and a function print as their names.  A negative errno is a number like any other: only the caller knows.
    """
    if isinstance(value, Enum):
        return value.name or str(value.value)  # a combination of flags has no name on every Python
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, Named):
        return value.name
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return _tuple(value)
    if isinstance(value, frozenset | set):
        return f"{{{', '.join(sorted(map(show, value)))}}}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{show(key)}: {show(item)}' for key, item in value.items())}}}"
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        return value.__name__
    if attrs.has(type(value)):
        return _record(value)
    return repr(value)


def _bytes(data: bytes) -> str:
    if not data:
        return '""'
    period = (data + data).find(data, 1)
    pattern = data[:period]
    if pattern == b"\0":
        return "zeros"
    if len(pattern) <= LONGEST_PATTERN:
        return _quoted(pattern)
    runs = _runs(data)
    if len(runs) <= MOST_RUNS:
        return " ".join(f"{show(unit)}x{count}" for unit, count in runs)
    return f"{_quoted(pattern[:LONGEST_PATTERN])}... ({len(data)} bytes)"


def _runs(data: bytes) -> list[tuple[bytes, int]]:
    """Content that is late in one half and original in the other: units of UNIT bytes, and how often each repeats."""
    runs: list[tuple[bytes, int]] = []
    for start in range(0, len(data), UNIT):
        unit = data[start : start + UNIT]
        if runs and runs[-1][0] == unit:
            runs[-1] = (unit, runs[-1][1] + 1)
        else:
            runs.append((unit, 1))
    return runs


def _quoted(data: bytes) -> str:
    if data.rstrip(b"\0").isascii() and data.rstrip(b"\0").decode("ascii").isprintable() and data.rstrip(b"\0"):
        text = data.decode("ascii").replace("\\", "\\\\").replace('"', '\\"').replace("\0", "\\0")
        return f'"{text}"'
    return f"0x{data.hex()}"


def _tuple(value: tuple[Any, ...]) -> str:
    fields = getattr(type(value), "_fields", None)
    if fields:
        return f"{type(value).__name__}({', '.join(f'{f}={show(v)}' for f, v in zip(fields, value, strict=True))})"
    shown = [show(item) for item in value]
    if len(shown) > 1 and len(set(shown)) == 1:
        return f"({shown[0]} x {len(shown)})"
    return f"({', '.join(shown)}{',' if len(shown) == 1 else ''})"


def _record(value: attrs.AttrsInstance) -> str:
    """`Pte(page1, write)`: the values by name, flags that are set by name alone, and what says nothing left out."""
    parts = []
    for field in attrs.fields(type(value)):
        item = getattr(value, field.name)
        if item is True:
            parts.append(field.name)
        elif isinstance(item, Named):
            parts.append(item.name)
        elif item is not None and item is not False and item not in ((), frozenset()):
            parts.append(f"{field.name}={show(item)}")
    return f"{type(value).__name__}({', '.join(parts)})" if parts else type(value).__name__
