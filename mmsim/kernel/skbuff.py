"""Socket buffers: fragments that travel together, and who may write to them.

Follows net/core/skbuff.c (skb_clone, skb_cow_data, skb_ensure_writable, skb_store_bits, skb_try_coalesce) and
include/linux/skbuff.h (skb_cloned, skb_has_shared_frag), v6.12.  A consumer that changes a packet must own its pages.
Two things tell it that it does not: the buffer is cloned, or it bears SKBFL_SHARED_FRAG, which whoever put somebody
else's pages into it has set, and which must not get lost when fragments move from one buffer to another.

Not modelled: the linear part and the headers in it, which are the buffer's own in any case (a packet here is what its
fragments hold); the frag_list; a clone shares its fragments in Linux (`dataref`), and has references of its own here,
which a check for pins cannot tell from one another, for either is more than the page cache's.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.filemap import read_page
from mmsim.kernel.memory import copy_page
from mmsim.kernel.net import Frag
from mmsim.kernel.page_alloc import get_page, put_page
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import Kernel, Page


@attrs.frozen
class SkBuff:
    """struct sk_buff with its skb_shared_info.  Whoever has it has a reference to the page of each fragment."""

    frags: tuple[Frag, ...]
    shared_frag: bool = False
    """SKBFL_SHARED_FRAG: some page may be somebody else's, and is to be read only."""
    cloned: bool = False
    """skb_cloned(): somebody else has these fragments as well."""

    @property
    def length(self) -> int:
        """skb->len, in bytes."""
        return sum(frag.length for frag in self.frags)

    @property
    def pages(self) -> tuple[Page, ...]:
        """The page of each fragment."""
        return tuple(frag.page for frag in self.frags)


async def skb_clone(skb: SkBuff) -> SkBuff:
    """The same packet for somebody else as well: both are clones from here on."""
    for frag in skb.frags:
        await get_page(frag.page)
    return attrs.evolve(skb, cloned=True)


async def kfree_skb(k: Kernel, skb: SkBuff) -> None:
    """Give the fragments back."""
    for frag in skb.frags:
        await put_page(k, frag.page)


async def skb_copy_bits(k: Kernel, skb: SkBuff, length: int) -> bytes:
    """The first `length` bytes."""
    got = b""
    for frag in skb.frags:
        count = min(frag.length, length - len(got))
        if count:
            got += await read_page(k, frag.page, frag.offset, frag.offset + count)
    return got


async def skb_store_bits(k: Kernel, skb: SkBuff, offset: int, data: bytes) -> None:
    """Write `data` at byte `offset`, wherever that is: whether it may be written is the caller's business."""
    start = 0
    for frag in skb.frags:
        low, high = max(offset, start), min(offset + len(data), start + frag.length)
        if low < high:
            await write_page(k, frag.page, frag.offset + low - start, data[low - offset : high - offset])
        start += frag.length


async def skb_cow_data(k: Kernel, skb: SkBuff) -> SkBuff:
    """The same packet in pages of its own, all of it."""
    return await skb_ensure_writable(k, skb, skb.length)


async def skb_ensure_writable(k: Kernel, skb: SkBuff, length: int) -> SkBuff:
    """The same packet with its first `length` bytes in pages of its own; what lies beyond stays where it is."""
    frags: tuple[Frag, ...] = ()
    left = length
    for frag in skb.frags:
        count = min(frag.length, left)
        if count:
            frags += (Frag(await copy_page(k, frag.page), frag.offset, count),)
        if count < frag.length:
            frags += (Frag(frag.page, frag.offset + count, frag.length - count),)
        else:
            await put_page(k, frag.page)
        left -= count
    return SkBuff(frags, shared_frag=skb.shared_frag and length < skb.length)


def skb_try_coalesce(to: SkBuff, skb: SkBuff, keeps_marker: bool) -> SkBuff | None:
    """`to` with the fragments of `skb` moved to its end; None if they cannot be.

    Up to CVE-2026-46300 the marker stayed behind: `to` then had pages that it took for its own.
    """
    if to.cloned:
        return None
    return attrs.evolve(
        to, frags=to.frags + skb.frags, shared_frag=to.shared_frag or (keeps_marker and skb.shared_frag)
    )
