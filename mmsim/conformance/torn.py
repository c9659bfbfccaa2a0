"""The one difference between Linux and the model that is no disagreement: content torn within a word of the model.

In a model a page has few words, often one, and a copy takes a word at a time; here every eight bytes are copied by
themselves, so a read that overlaps with a device's or a CPU's write may return some of the old and some of the new.
The rule: such an outcome must equal two outcomes that the model does allow in everything but byte strings, and each
eight bytes of it must be those of the one or of the other.  A sealed file that changed is never excused by it, for of
the two outcomes the model would have to allow one in which it changed.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from itertools import combinations
from typing import Any

import attrs

from mmsim.verdict import Outcome

UNIT = 8
"""Bytes that an x86-64 CPU copies at once."""


def is_torn(outcome: Outcome, allowed: Collection[Outcome]) -> bool:
    """Whether the outcome, which the model does not allow, is a mixture of two that it does allow."""
    shape = _shape(outcome)
    like = [list(_contents(other)) for other in allowed if _shape(other) == shape]
    seen = list(_contents(outcome))
    return any(all(map(_mixed, seen, one, another)) for one, another in combinations(like, 2))


def _mixed(seen: bytes, one: bytes, another: bytes) -> bool:
    units = [slice(start, start + UNIT) for start in range(0, len(seen), UNIT)]
    return all(seen[unit] in (one[unit], another[unit]) for unit in units)


def _parts(value: object) -> list[object] | None:
    """What a value consists of; None if it is one thing."""
    if isinstance(value, tuple):
        return list(value)
    kind: Any = type(value)
    if attrs.has(kind):
        return [getattr(value, field.name) for field in attrs.fields(kind)]
    return None


def _shape(value: object) -> Hashable:
    """The value with its byte strings blanked."""
    parts = _parts(value)
    if parts is not None:
        return type(value), tuple(_shape(part) for part in parts)
    return (bytes, len(value)) if isinstance(value, bytes) else (type(value), value)


def _contents(value: object) -> Iterator[bytes]:
    """The byte strings in a value, in order."""
    for part in _parts(value) or ():
        yield from _contents(part)
    if isinstance(value, bytes):
        yield value
