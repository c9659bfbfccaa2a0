"""Paths as wholes: what a driver that runs the same ones for ever may learn of them.

A path is a coroutine of the kernel, and what it does next is told by its arguments and the results of its steps alone.
Nothing here changes what it does; `learnable` says where a call may be taken for one thing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from mmsim.kernel.types import Kernel

P = ParamSpec("P")
R = TypeVar("R")

Path = Callable[..., Coroutine[Any, Any, Any]]
Call = Callable[..., Awaitable[Any]]


class Learn(Protocol):
    """Who finds out what a path does without running it each time; `mmsim.timed.learnt.Learnt` is one."""

    def __call__(self, path: Path, /, *, part: bool) -> Call:
        """What is to be called in place of `path`, which may be `part` of other paths that are learnt."""
        ...


def as_it_is(path: Path, /, *, part: bool) -> Call:
    """A path that is run each time."""
    return path


def learnable(
    path: Callable[Concatenate[Kernel, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Kernel, P], Awaitable[R]]:
    """A path that may be learnt by itself, wherever it is called from.

    It pays for one that is told by few arguments, and whose steps meet many results of which its answer tells little:
    its callers then know of one call, and not of all that may happen in it.
    """

    def call(k: Kernel, /, *arguments: P.args, **options: P.kwargs) -> Awaitable[R]:
        return k.calls(path)(*arguments, **options)

    return update_wrapper(call, path)
