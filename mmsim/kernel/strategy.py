"""A strategy: the points on which the designs disagree, each a coroutine function, as one frozen value.

A design is `attrs.evolve(linux, name=..., pin=..., ...)`, so its last statement is its difference from Linux without
any protection.  `k` is the `Kernel` as the calling thread sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import attrs

from mmsim.kernel.page_alloc import drop_reference, put_page
from mmsim.kernel.paths import Path
from mmsim.kernel.releases import COUNTS_MAYWRITE
from mmsim.kernel.types import VM_MAYWRITE, VM_SHARED, AddressSpace, Inode, Kernel, Mm, Page, Pin, Vma
from mmsim.syscalls import EBUSY, EPERM


@attrs.frozen
class Budget:
    """What a design asks of the kernel, beyond what Linux without any protection does, and cannot be counted.

    Steps, atomics and cache lines are counted from its code (mmsim.check.price).
    """

    page_flags: int = 0
    struct_page_bytes_32: int = 0
    struct_page_bytes_64: int = 0
    """Bytes more in every struct page, with what alignment makes of them."""
    callers_to_convert: str = "none"
    drops_in_interrupt: str = "nothing"
    """What giving a page back does in interrupts, other than to count in struct page."""
    who_waits: str = "nobody"
    bytes_copied: str = "nothing"
    """What a seal copies."""


class Guarantee(Enum):
    """A promise that a file's content stays: all four are one to whoever still holds a page for writing."""

    SEALED = "F_SEAL_WRITE"
    REMOUNTED = "remount read-only"
    IMMUTABLE = "S_IMMUTABLE"
    EXECUTED = "execve"


EVERY_PROMISE = frozenset(Guarantee)


def one_reference(_pin: Pin) -> int:
    """A pin is a reference like any other."""
    return 1


@attrs.frozen
class Strategy:
    """One design.  `doc` argues for it in terms that the checker can confirm or refute."""

    name: str
    doc: str
    pin: Path
    """(k, pin) -> bool: take a reference for get_user_pages; False if the page may not be had."""
    unpin: Path
    """(k, pin) -> None: give it back; may run in an interrupt."""
    put_page: Path
    """(k, page) -> None: give back any other reference; may run in an interrupt."""
    map_writable: Path
    """(k, inode) -> errno: before a counted mapping is linked (mapping_map_writable)."""
    unmap_writable: Path
    """(k, mapping) -> None: a counted mapping is gone (mapping_unmap_writable, in unlink_file_vma)."""
    before_unmap_writable: Path
    """(k, mm, vma, pages) -> None: PTEs are cleared and flushed, `pages` still hold the mapping's references."""
    after_zap_writable: Path
    """(k, mm, vma, pages) -> None: as before_unmap_writable, but the mapping stays, and so do the pages in the file:
    madvise(MADV_DONTNEED) and migration."""
    deny_writable: Path
    """(k, inode) -> errno: nobody may write from here on, if nobody does; called with i_mutex held."""
    exclude_pins: Path
    """(k, mapping) -> errno: after deny_writable, before the promise is made: see to it that no page reference that
    is left can write the file: look, wait, refuse, or give its holder the page and the file another."""
    allow_writable: Path
    """(k, inode) -> None: the seal failed; undo deny_writable."""
    before_evict: Path
    """(k, inode) -> None: nobody can reach the file any more and its pages have left the cache; then it is freed."""
    guards: frozenset[Guarantee] = frozenset({Guarantee.SEALED})
    """Which promises it is asked about; Linux asks nobody before a remount, chattr +i or execve()."""
    references: Callable[[Pin], int] = one_reference
    """How much a pin adds to the page's reference count."""
    counts: tuple[str, ...] = ()
    """Fields it adds to struct page or struct address_space: at rest each has its initial value again."""
    budget: Budget = Budget()


# The helpers of include/linux/fs.h, v3.17: a count of writable mappings, or -1 where they are denied.


async def mapping_map_writable(_k: Kernel, inode: Inode) -> int:
    """One more writable mapping, unless they are denied.  -EPERM."""
    return 0 if await inode.mapping.i_mmap_writable.inc_unless_negative() else -EPERM


async def mapping_unmap_writable(_k: Kernel, mapping: AddressSpace) -> None:
    """One writable mapping less."""
    await mapping.i_mmap_writable.dec()


async def mapping_deny_writable(_k: Kernel, inode: Inode) -> int:
    """Deny writable mappings from now on, unless there is one.  -EBUSY."""
    return 0 if await inode.mapping.i_mmap_writable.dec_unless_positive() else -EBUSY


async def mapping_allow_writable(_k: Kernel, inode: Inode) -> None:
    """Undo mapping_deny_writable()."""
    await inode.mapping.i_mmap_writable.inc()


async def try_get_page(_k: Kernel, pin: Pin) -> bool:
    """page_cache_get_speculative() as gup_pte_range() uses it: a reference, unless the page is already free."""
    return await pin.page.refcount.inc_not_zero()


async def unpin_by_put_page(k: Kernel, pin: Pin) -> None:
    """A pin is a reference like any other."""
    await put_page(k, pin.page)


async def look_at_no_pins(_k: Kernel, _mapping: AddressSpace) -> int:
    """Look at nothing but the counter."""
    return 0


async def unmap_at_once(_k: Kernel, _mm: Mm, _vma: Vma, _pages: tuple[Page, ...]) -> None:
    """A mapping that is gone is gone."""


async def evict_at_once(_k: Kernel, _inode: Inode) -> None:
    """A pin holds its page, and nothing of the file."""


linux = Strategy(
    name="linux",
    doc="What all designs start from: the counter of v3.17 with deny and allow, and nothing that looks at pins.",
    pin=try_get_page,
    unpin=unpin_by_put_page,
    put_page=drop_reference,
    map_writable=mapping_map_writable,
    unmap_writable=mapping_unmap_writable,
    before_unmap_writable=unmap_at_once,
    after_zap_writable=unmap_at_once,
    deny_writable=mapping_deny_writable,
    exclude_pins=look_at_no_pins,
    allow_writable=mapping_allow_writable,
    before_evict=evict_at_once,
)


def counted(k: Kernel, flags: int) -> bool:
    """Whether a mapping of these flags counts as writable; from v6.7 on only where VM_MAYWRITE is set too."""
    wanted = VM_SHARED | VM_MAYWRITE if k.release.has(COUNTS_MAYWRITE) else VM_SHARED
    return flags & wanted == wanted
