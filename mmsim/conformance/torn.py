"""The two differences between Linux and the model that are no disagreement: content torn, and stores cut short.

In a model a page has few words, often one, and a copy takes a word at a time; here every eight bytes are copied by
themselves.  So a read that overlaps with a device's or a CPU's write may return some of the old and some of the new,
and a store whose page is unmapped or protected meanwhile raises its signal with some of its bytes stored.

The rule: such an outcome must equal an outcome that the model does allow in everything but byte strings, and each eight
bytes of it must be those of that one or of a second one.  The second is allowed too and equals it in everything but
byte strings, except that stores which raised a signal here may have gone through there.  And byte strings that are
equal to each other in both must be equal here: a sealed file that changed is never excused, for of the two outcomes the
model would have to allow one in which it changed.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from itertools import combinations
from typing import Any

import attrs

from mmsim.verdict import Outcome

UNIT = 8
"""Bytes that an x86-64 CPU copies at once."""


def is_torn(outcome: Outcome, allowed: Collection[Outcome]) -> bool:
    """Whether the outcome, which the model does not allow, is a mixture of two that it does allow."""
    seen = list(_leaves(outcome))
    others = [list(_leaves(other)) for other in allowed]
    like = [other for other in others if _alike(seen, other, cut_short=False)]
    second = [other for other in others if _alike(seen, other, cut_short=True)]
    return any(_is_mixture(seen, one, another) for one in like for another in second)


def _alike(seen: list[object], other: list[object], *, cut_short: bool) -> bool:
    """Whether they are equal but for byte strings, and with `cut_short` but for stores that went through there."""
    return len(seen) == len(other) and all(
        _both_bytes(here, there)
        or (type(here) is type(there) and here == there)
        or (cut_short and isinstance(here, signal.Signals) and there is None)
        for here, there in zip(seen, other, strict=True)
    )


def _both_bytes(here: object, there: object) -> bool:
    return isinstance(here, bytes) and isinstance(there, bytes) and len(here) == len(there)


def _is_mixture(seen: list[object], one: list[object], another: list[object]) -> bool:
    contents = [
        (mixed, first, second)
        for mixed, first, second in zip(seen, one, another, strict=True)
        if isinstance(mixed, bytes) and isinstance(first, bytes) and isinstance(second, bytes)
    ]
    return all(_mixed(*content) for content in contents) and all(
        a[0] == b[0] for a, b in combinations(contents, 2) if a[1:] == b[1:]
    )


def _mixed(seen: bytes, one: bytes, another: bytes) -> bool:
    units = [slice(start, start + UNIT) for start in range(0, len(seen), UNIT)]
    return all(seen[unit] in (one[unit], another[unit]) for unit in units)


def _leaves(value: object) -> Iterator[object]:
    """What a value consists of, in order; each container is led by its type and its length."""
    kind: Any = type(value)
    if isinstance(value, tuple):
        parts = list(value)
    elif attrs.has(kind):
        parts = [getattr(value, field.name) for field in attrs.fields(kind)]
    else:
        yield value
        return
    yield kind, len(parts)
    for part in parts:
        yield from _leaves(part)
