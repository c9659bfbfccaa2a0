"""Very many at once: what a user has others do two thousand million times, in one step.

Follows fs/splice.c (link_pipe) and fs/pipe.c (generic_pipe_buf_get), v3.17 and v5.1.

All that such a crowd leaves behind is what it adds to a page's reference count, so it adds it at once: a schedule in
which nobody else runs between its calls.  What another thread could do in between it can do before or after as well,
for a call that succeeds only adds, and one that is refused does nothing.  The references stay until the end.

Not modelled: that try_get_page() looks and takes in two steps, by which each CPU that races gets one more; the pipes
themselves, whose 16 slots, descriptors and memory are what limits a crowd in Linux (so it takes some 140 GB).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmsim.cells import INT_MAX, Cell, Handle, World, is_used_up, wrapped
from mmsim.kernel.pipe import PipeFile, lock_for_reading
from mmsim.kernel.releases import REFUSES_MANY_REFERENCES
from mmsim.kernel.types import File, Kernel, References
from mmsim.steps import KernelBug
from mmsim.syscalls import EBADF, EFAULT, EINVAL


class Crowd(Handle):
    """The pipes of one tee_many()."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.bufs: Cell[References | None] = self.cell("bufs", None)

    def holds(self, view: Any) -> Iterator[References]:
        """All of them."""
        if view[self.bufs] is not None:
            yield view[self.bufs]


def referred(count: int, wanted: int, refusing: bool) -> tuple[int, int]:
    """The reference count after as many of `wanted` calls of get_page() as are not refused, and how many that is.

    Who is refused is so where the count is not positive; it becomes that by the call that leaves INT_MAX.
    """
    if is_used_up(count):
        msg = "a reference is taken on an object that has none: it is already free"
        raise KernelBug(msg)
    room = INT_MAX + 1 - count if count > 0 else 0
    granted = min(wanted, room) if refusing else wanted
    return wrapped(count + granted), granted


async def tee_many(k: Kernel, source: File, wanted: int) -> int:
    """Refer to the first page in a pipe from `wanted` other pipes: how many got it; -EFAULT if none did."""
    if not source.readable:
        return -EBADF
    if not isinstance(source, PipeFile) or wanted < 0:
        return -EINVAL
    if not wanted or not await lock_for_reading(source.pipe):
        return 0
    buffer = await source.pipe.buf((await source.pipe.ring.load()).tail).load()
    assert buffer.page is not None
    refusing = k.release.has(REFUSES_MANY_REFERENCES)
    granted: int = await buffer.page.refcount.fetch_update(referred, wanted, refusing)
    if granted:
        number = await k.number("crowds_made")
        await k.world.handle(Crowd, f"{k.cpu}.crowd[{number}]").bufs.store(References(buffer.page, granted))
    await source.pipe.mutex.release()
    return granted or -EFAULT
