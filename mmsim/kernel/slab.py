"""Objects that come and go: made, and in long runs used again.

Follows mm/slub.c (kmem_cache_alloc, kmem_cache_free) as far as its per-CPU lists: each CPU makes its own objects, so
that making one conflicts with nobody, and they go back to where they were made, last in, first out.

The checker's machines use nothing twice.  A use after free is then a bug whether or not somebody else got the object
meanwhile, and a schedule names an object for good.  A machine that runs for long (`Kernel.reuses`) would have no end of
objects, and none of its calls would come again.

Not modelled: slabs of pages, remote freeing by way of the slab's own list.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from mmsim.cells import Cell, Handle
from mmsim.kernel.types import Kernel

H = TypeVar("H", bound=Handle)

Free = tuple[Handle, ...]


def allocated(free: Free) -> tuple[Free, Handle | None]:
    """The object that was freed last, if there is one."""
    return (free[:-1], free[-1]) if free else (free, None)


def freed(free: Free, thing: Handle) -> Free:
    """One more."""
    return (*free, thing)


async def kmem_cache_alloc(k: Kernel, cache: str, make: Callable[..., H], *like: Hashable) -> H:
    """One of the `cache`: new, `make(k, number, *like)`, or one made so with all that it held when it was freed.

    `make` is a function of a module, and so no part of a thread's state.
    """
    if not k.reuses:
        return make(k, await k.number(f"{cache}_made"), *like)
    slab: Cell[Free] = k.world.cell(f"{k.cpu}.{cache}_slab{list(like)}", ())
    found: Any = await slab.fetch_update(allocated)
    if found is None:
        found = make(k, await k.number(f"{cache}_made"), *like)
        found.slab = slab
    thing: H = found
    return thing


async def kmem_cache_free(thing: Handle) -> None:
    """Nobody refers to it any more."""
    if thing.slab is not None:
        await thing.slab.update(freed, thing)
