"""The whole local state of a suspended coroutine, as one hashable value.

Two runs of a thread that end in the same local state behave alike from there on, so they share a node of the thread's
automaton; without this, counters and retries would blow the automaton up.  The local state of a coroutine is, for
every frame along what it awaits: the position in the code, the locals by name that may still be read, and the
evaluation stack, which CPython shows through `gc.get_referents` (iterators in mid-loop, the bound `__aexit__` of an
open `async with`, results of earlier awaits in the same expression).

Nothing here may guess.  A value of a type that is not known below makes `local_state` answer None, and the caller
falls back to the history of results, which is always sound; so does a Python that is not CPython 3.11 to 3.13, since
what `gc.get_referents` shows is nobody's promise (`TRUSTED`).
"""

from __future__ import annotations

import enum
import gc
import operator
import platform
import sys
from collections.abc import Coroutine, Generator, Hashable, Iterable
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, cast

import attrs

from mmsim.cells import IrqSaved, Named, ReadSide
from mmsim.engine.liveness import live_locals, reads_by_name
from mmsim.steps import Step

TRUSTED = platform.python_implementation() == "CPython" and (3, 11) <= sys.version_info[:2] <= (3, 13)

_PLAIN = frozenset({int, str, bytes, type(None)})
_TYPED = frozenset({bool, float, complex})
_BY_IDENTITY = (Named, CodeType, ModuleType, MethodDescriptorType, WrapperDescriptorType, type, enum.Enum)
_EXAMPLES: tuple[Iterable[Any], ...] = (range(0), range(1 << 70), (), [], b"", "", reversed([]), enumerate(()), zip())
_ITERATORS = tuple(type(iter(example)) for example in _EXAMPLES)


class _UnknownValueError(Exception):
    pass


class _Encoder:
    """One walk over one coroutine.  Mutable objects are numbered when first met, so sharing is part of the state."""

    def __init__(self) -> None:
        self.met: dict[int, int] = {}
        self.alive: list[object] = []  # an id stays unique only as long as its object lives

    def value(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in _PLAIN:
            return cast("Hashable", value)
        if kind in _TYPED:
            return (kind, repr(value))  # by its digits: -0.0 equals 0.0, and divides differently
        if kind is tuple:
            return (kind, *map(self.value, value))  # the tag: no tuple can look like the encoding of something else
        if isinstance(value, _BY_IDENTITY):
            if isinstance(value, type) and "<locals>" in value.__qualname__:
                raise _UnknownValueError  # a class of this run alone, whose attributes may change
            return value
        if kind is FunctionType and "<locals>" not in value.__qualname__:
            return cast("Hashable", value)
        if kind is BuiltinFunctionType and isinstance(value.__self__, ModuleType | type | None):
            return cast("Hashable", value)
        if kind is range:
            return (kind, value)
        if kind is frozenset:
            return (kind, frozenset(map(self.value, value)))
        if attrs.has(kind) and _is_frozen(kind):
            return (kind, tuple(self.value(getattr(value, field.name)) for field in attrs.fields(kind)))
        return self.mutable(value, kind)

    def mutable(self, value: Any, kind: type) -> Hashable:
        number = self.met.get(id(value))
        if number is not None:
            return ("met", number)
        self.met[id(value)] = len(self.met)
        self.alive.append(value)
        if kind is list:
            return (kind, tuple(map(self.value, value)))
        if kind is dict:
            return (kind, tuple((self.value(key), self.value(item)) for key, item in value.items()))
        if kind is set and all(type(item) in _PLAIN for item in value):
            return (kind, frozenset(value))
        if kind is FunctionType:
            held = (value.__closure__ or (), value.__defaults__, value.__kwdefaults__, value.__dict__)
            return (kind, value.__code__, *map(self.value, held))
        if kind is BuiltinFunctionType:
            return (kind, value.__name__, self.value(value.__self__))
        if kind is CellType:
            return (kind, self.value(value.cell_contents) if value != CellType() else ())
        if kind is MethodType:
            return (kind, value.__func__, self.value(value.__self__))
        if kind is CoroutineType:
            return self.frame(value, value.cr_frame, value.cr_code)
        if kind is GeneratorType and value.gi_code in _AWAITERS:
            return self.frame(value, value.gi_frame, value.gi_code)
        if kind is Step:
            step = cast("Step[Any]", value)
            return (kind, step.word, step.cell, step.effect, tuple(map(self.value, step.operands)))
        if kind is ReadSide:
            return (kind, value.sem)
        if kind is IrqSaved:
            return (kind, value.lock)
        if kind in _ITERATORS:
            return (kind, *map(self.value, value.__reduce__()))
        raise _UnknownValueError

    def frame(self, owner: object, frame: FrameType | None, code: CodeType) -> Hashable:
        if frame is None:
            return (code, "ended")
        if reads_by_name(code):
            raise _UnknownValueError
        local = frame.f_locals
        live = live_locals(code)
        names = [name for name in code.co_varnames if name in local] if live is not None else sorted(local)
        kept = [name for name in names if live is None or name in live[frame.f_lasti]]
        named = tuple((name, self.value(local[name])) for name in kept)
        # the frame itself and, before 3.13, the dict that f_locals just made are no part of the state
        seen = [one for one in gc.get_referents(owner) if one is not local and not isinstance(one, FrameType)]
        if live is not None:
            seen = seen[self.stack_at(seen, code, [local[name] for name in names]) :]
        return (code, frame.f_lasti, named, tuple(map(self.value, seen)))

    def stack_at(self, seen: list[Any], code: CodeType, local: list[Any]) -> int:
        """Where in a frame's referents the stack begins: after its function, its code and its locals, in that order."""
        for number, one in enumerate(seen[:-1]):
            if isinstance(one, FunctionType) and one.__code__ is code and seen[number + 1] is code:
                first = number + 2
                if len(seen) >= first + len(local) and all(map(_is, seen[first:], local)):
                    return first + len(local)
        raise _UnknownValueError


_is = operator.is_


_FROZEN: object = vars(attrs.frozen(type("Example", (), {})))["__setattr__"]


def _is_frozen(kind: type) -> bool:
    return getattr(kind, "__setattr__", None) is _FROZEN


_AWAITERS = frozenset({Step.__await__.__code__})


def local_state(coroutine: Coroutine[Any, Any, object] | Generator[Any, Any, Any]) -> Hashable | None:
    """The local state of a suspended coroutine, or None where it cannot be told for certain."""
    if not TRUSTED:
        return None
    try:
        return _Encoder().value(coroutine)
    except _UnknownValueError:
        return None
