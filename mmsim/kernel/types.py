"""Kernel objects: pages, address spaces, inodes, files, mms.

Follows include/linux/mm_types.h and include/linux/fs.h, v3.17.  A handle owns cells and holds no values; a frozen
value (a VMA, a PTE) is what a cell holds.  Names are hierarchical and begin with the owner, so that renaming one copy
of a process to another renames all that is its own.

Not modelled: the single pages of a huge one, swap, page tables above the last level (never freed while a process runs),
struct page of anything but RAM.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from functools import partial
from typing import Any

import attrs

from mmsim.cells import Cell, Handle, Mutex, Named, RwSem, SpinLock, World
from mmsim.kernel.paths import Call, Learn, Path, as_it_is
from mmsim.steps import KernelBug
from mmsim.syscalls import O_RDONLY, O_RDWR, O_WRONLY, PAGE_SIZE

VM_READ, VM_WRITE, VM_SHARED, VM_MAYWRITE, VM_PFNMAP, VM_DENYWRITE = 0x1, 0x2, 0x8, 0x20, 0x400, 0x800
VM_UFFD_MISSING, VM_UFFD_MINOR = 0x200, 1 << 37
VM_UFFD = VM_UFFD_MISSING | VM_UFFD_MINOR
PG_DIRTY, PG_WRITEBACK, PG_UPTODATE, PG_ANON_EXCLUSIVE = "dirty", "writeback", "uptodate", "anon_exclusive"
"""Bits of page->flags; a page of a memfd is up to date from the start and never under writeback."""
CACHED = "in a CPU's cache"
"""Where a page begins that is on its way to a list of pages (`mmsim.kernel.swap`)."""
TRUNCATED = "truncated"
"""No bit of page->flags: a page that a truncation, a hole or an eviction took out of its file."""
HPAGE_PMD_NR = 512
KERNEL_MOUNTS = (("shm_mnt", "tmpfs"), ("hugetlbfs_mnt", "hugetlbfs"))
"""The kernel's own mounts, on which memfds live, and what they are."""
POISON = b"\xaa free page \xaa"
"""What every word of a free page holds, as page_poisoning=on does; whoever touches it uses a freed page."""


@attrs.frozen
class InPlaceOf:
    """No bit of page->flags: by migration the page took the place of `page`, with all that was in it."""

    page: Page


PageFlags = frozenset[str | InPlaceOf]


class Page(Handle):
    """struct page, with the memory it describes as `words` (each a bytes of PAGE_SIZE / number of words).

    A huge page is one of these that stands for `nr_pages`; nothing of it can be seen but its first page.
    """

    def __init__(self, world: World, name: str, nr_pages: int = 1) -> None:
        super().__init__(world, name)
        self.nr_pages = nr_pages
        self.refcount: Cell[int] = self.cell("_refcount", 0)
        self.mapcount: Cell[int] = self.cell("_mapcount", 0)
        self.pincount: Cell[int] = self.cell("_pincount", 0)
        self.flags: Cell[PageFlags] = self.cell("flags", frozenset())
        self.mapping: Cell[AddressSpace | None] = self.cell("mapping", None)
        self.index: Cell[int] = self.cell("index", 0)
        self.lock = world.lock(Mutex, f"{name}.PG_locked")

    @property
    def lru(self) -> Cell[str]:
        """On which list of pages it is."""
        return self.cell("lru", CACHED)

    def word(self, number: int) -> Cell[bytes]:
        """Word `number` of the page's memory."""
        return self.cell(f"word[{number}]", POISON)


class AddressSpace(Handle):
    """struct address_space: the page cache of one inode, and who maps it."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.i_mmap_writable: Cell[int] = self.cell("i_mmap_writable", 0)
        self.i_mmap: Cell[frozenset[tuple[Mm, Vma]]] = self.cell("i_mmap", frozenset())
        self.i_mmap_mutex = world.lock(Mutex, f"{name}.i_mmap_mutex")

    @property
    def host(self) -> Inode:
        """mapping->host."""
        return self.world.handle(Inode, self.name.removesuffix(".i_data"))

    def slot(self, index: int) -> Cell[Page | None]:
        """The page cache's slot for page `index` of the file (a radix-tree slot, read under RCU)."""
        return self.cell(f"i_pages[{index}]", None)


class Inode(Handle):
    """struct inode, with shmem_inode_info where its file system is a tmpfs."""

    def __init__(self, world: World, name: str, sb: SuperBlock | None = None) -> None:
        super().__init__(world, name)
        self.sb = sb or world.handle(SuperBlock, "shm_mnt")
        self.i_flags: Cell[int] = self.cell("i_flags", 0)
        self.i_mode: Cell[int] = self.cell("i_mode", 0o777)
        self.i_mutex = world.lock(Mutex, f"{name}.i_mutex")
        self.i_size: Cell[int] = self.cell("i_size", 0)
        self.i_writecount: Cell[int] = self.cell("i_writecount", 0)
        self.i_count: Cell[int] = self.cell("i_count", 0)
        self.seals: Cell[int] = self.cell("seals", 0)
        self.mapping = world.handle(AddressSpace, f"{name}.i_data")

    def disk(self, index: int) -> Cell[bytes]:
        """What the disk has of page `index`; only where the file system has a disk."""
        return self.cell(f"disk[{index}]", bytes(PAGE_SIZE))


class SuperBlock(Handle):
    """struct super_block, with the one mount of it; `shm_mnt` is the kernel's own, where memfds live."""

    def __init__(
        self,
        world: World,
        name: str,
        kind: str = "tmpfs",
        *,
        mounted: bool = False,
        stable: bool = False,
        evicts: bool = False,
    ) -> None:
        super().__init__(world, name)
        self.kind = kind
        self.internal = not mounted
        """Whether user space cannot name the mount: nobody remounts it, so nobody asks how many write there."""
        self.stable = stable
        self.evicts = evicts
        """Whether an inode goes with its last open file; see `mmsim.kernel.inode`."""
        self.s_umount = world.lock(RwSem, f"{name}.s_umount")
        self.s_readonly: Cell[bool] = self.cell("s_readonly", False)
        self.s_readonly_remount: Cell[bool] = self.cell("s_readonly_remount", False)
        self.mnt_writers: Cell[int] = self.cell("mnt_writers", 0)
        self.mnt_write_hold: Cell[bool] = self.cell("MNT_WRITE_HOLD", False)
        self.root_mutex = world.lock(Mutex, f"{name}.root.i_mutex")
        self.s_inodes: Cell[tuple[Inode, ...]] = self.cell("s_inodes", ())
        self.b_dirty: Cell[frozenset[tuple[Inode, int]]] = self.cell("b_dirty", frozenset())

    @property
    def block_backed(self) -> bool:
        """Whether pages are read from a disk and written back to it."""
        return self.kind == "ext4"


@attrs.frozen
class FileOperations:
    """struct file_operations of what is no regular file: a pipe, a socket."""

    read: Callable[..., Coroutine[Any, Any, bytes | int]]
    """(k, file, length)"""
    write: Callable[..., Coroutine[Any, Any, int]]
    """(k, file, data)"""
    release: Callable[..., Coroutine[Any, Any, None]]
    """(k, file): the last reference is gone."""
    sendpage: Callable[..., Coroutine[Any, Any, int]] | None = None
    """(k, file, page, offset, length, flags): send part of a page, which the receiver takes a reference of its own to.

    `flags` is 0, or MSG_NO_SHARED_FRAGS where the page is nobody's but the sender's.
    """
    maps_privately: bool = False
    """Whether mmap() takes it: as memory of one's own, without a file."""


class File(Handle):
    """struct file.  How it was opened (`flags`) never changes; a memfd is its inode's first file."""

    f_op: FileOperations | None = None

    def __init__(self, world: World, name: str, inode: Inode | None = None, flags: int = O_RDWR) -> None:
        super().__init__(world, name)
        self.flags = flags
        self.inode = inode or world.handle(Inode, f"{name}.inode")
        self.f_count: Cell[int] = self.cell("f_count", 0)
        self.f_pos: Cell[int] = self.cell("f_pos", 0)
        self.f_pos_lock = world.lock(Mutex, f"{name}.f_pos_lock")

    @property
    def counted(self) -> bool:
        """Whether anything depends on who refers to it: what goes with it, or the writers of its mount."""
        return bool(self.f_op) or not self.inode.sb.internal or self.inode.sb.evicts

    @property
    def readable(self) -> bool:
        """FMODE_READ."""
        return self.flags & 3 in (O_RDONLY, O_RDWR)

    @property
    def writable(self) -> bool:
        """FMODE_WRITE."""
        return self.flags & 3 in (O_WRONLY, O_RDWR)


@attrs.frozen(cache_hash=True)
class Vma:
    """struct vm_area_struct.  `start` and `end` in bytes; `pgoff` is the file's page at `start`."""

    start: int
    end: int
    flags: int
    file: File
    pgoff: int

    def pages(self) -> range:
        """The addresses of its pages."""
        return range(self.start, self.end, PAGE_SIZE)

    def index(self, address: int) -> int:
        """The page of the file that is mapped at `address`."""
        return self.pgoff + (address - self.start) // PAGE_SIZE

    def address_of(self, index: int) -> int | None:
        """Where page `index` of the file is mapped, if it is."""
        address = self.start + (index - self.pgoff) * PAGE_SIZE
        return address if self.start <= address < self.end else None

    @property
    def shared(self) -> bool:
        """Whether stores go to the file."""
        return bool(self.flags & VM_SHARED)

    @property
    def cow(self) -> bool:
        """is_cow_mapping(): private, and it may be written, whether or not it is at the moment."""
        return self.flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE

    @property
    def hugetlb(self) -> bool:
        """is_vm_hugetlb_page(): it maps huge pages of hugetlbfs."""
        return self.file.inode.sb.kind == "hugetlbfs"


@attrs.frozen(cache_hash=True)
class Pte:
    """A page-table entry: present, or a migration entry."""

    page: Page
    write: bool
    dirty: bool = False
    anon: bool = False
    """Whether the page is a private copy, not the file's."""
    migrating: bool = False
    """A migration entry: not present, and without a reference, but `write` and `dirty` are kept for its page's heir."""
    none: bool = False
    """pte_protnone(): mapped, with its reference, but the CPU faults on every access."""
    special: bool = False
    """pte_special(): a page frame number, with neither a reference nor a map count; get_user_pages() passes it by."""
    huge: bool = False
    """A pmd, which maps a huge page of anonymous memory."""

    def allows(self, *, write: bool) -> bool:
        """Whether the CPU may load, or store, through this entry."""
        return not self.migrating and not self.none and (self.write or not write)


@attrs.frozen(cache_hash=True)
class TlbEntry:
    """What a CPU remembers of a PTE, and whether one of its instructions is using it this very moment."""

    pte: Pte | None = None
    busy: bool = False


EMPTY_TLB = TlbEntry()


@attrs.frozen
class ExeFile:
    """mm->exe_file: the program that runs."""

    file: File
    denies: bool
    """Whether it keeps everybody from opening the file for writing by itself, without a mapping that does."""


class Mm(Handle):
    """struct mm_struct.  Page tables are one cell per page, under one page-table lock (one PMD's worth)."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.order = len(world.of(Mm))
        """How many there were before it; a process that is forked has a greater one than who forks it."""
        self.mmap_lock = world.lock(RwSem, f"{name}.mmap_lock")
        self.page_table_lock = world.lock(SpinLock, f"{name}.page_table_lock")
        self.mmap: Cell[tuple[Vma, ...]] = self.cell("mmap", ())
        self.write_protect_seq: Cell[int] = self.cell("write_protect_seq", 0)
        self.exe_file: Cell[ExeFile | None] = self.cell("exe_file", None)
        self._ptes: dict[int, Cell[Pte | None]] = {}  # known by address as well as by name: a walk is made often

    def pte(self, address: int) -> Cell[Pte | None]:
        """The page-table entry of the page at `address`."""
        page = address & -PAGE_SIZE
        found = self._ptes.get(page)
        if found is None:
            found = self._ptes[page] = self.cell(f"pte[{page:#x}]", None)
        return found

    def tlb(self, cpu: str, address: int) -> Cell[TlbEntry]:
        """What CPU `cpu` remembers of the page at `address`."""
        return self.cell(f"tlb[{address & -PAGE_SIZE:#x}] of {cpu}", EMPTY_TLB)


class Io(Handle):
    """struct kiocb: one asynchronous direct I/O.  `result` is None until it completes."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.result: Cell[int | None] = self.cell("result", None)


class Caller(Enum):
    """Who asked get_user_pages() for a page: what a design that converts callers one by one tells apart."""

    DIRECT_IO = "direct I/O"
    FUSE_DIRECT = "FUSE direct I/O"
    NFS_DIRECT = "NFS direct I/O"
    VMSPLICE = "vmsplice"
    IO_URING = "io_uring"
    PROCESS_VM = "process_vm_writev"
    PTRACE = "ptrace"
    RDMA = "RDMA"
    UDMABUF = "udmabuf"


@attrs.frozen(cache_hash=True)
class Pin:
    """One reference that get_user_pages() took.  Whoever holds it gives back this very value."""

    page: Page
    write: bool
    """FOLL_WRITE: whether the holder may write the page."""
    caller: Caller
    fast: bool = False
    """Whether it was taken without mmap_lock."""
    private: bool = False
    """Whether the page is somebody's private copy, and not a file's."""
    counted: bool = False
    """Whether it is one of a private page's `_pincount`."""


@attrs.frozen
class References:
    """So many ordinary references to one page."""

    page: Page
    count: int


class RegisteredBuffer(Handle):
    """struct io_rsrc_node with its io_mapped_ubuf: `refs` counts the ring's table and the requests under way."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.address: Cell[int] = self.cell("address", 0)
        self.pins: Cell[tuple[Pin, ...]] = self.cell("pins", ())
        self.refs: Cell[int] = self.cell("refs", 0)

    def holds(self, view: Any) -> Iterator[Pin]:
        """Every pin."""
        yield from view[self.pins]


@attrs.frozen(cache_hash=True)
class Request:
    """struct bio: the pinned pages of one I/O.  `data` is what a read brings, None for a write to the device."""

    io: Io
    mm: Mm
    address: int
    pins: tuple[Pin, ...]
    data: bytes | None
    process: Process
    node: RegisteredBuffer | None = None
    """Whose pins they are, where the I/O has none of its own (BIO_NO_PAGE_REF)."""

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages of the buffer, in order."""
        return tuple(pin.page for pin in self.pins)


class BlockDevice(Handle):
    """A device: its queue of requests, and what was last written to it."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.queue: Cell[tuple[Request, ...]] = self.cell("queue", ())
        self.contents: Cell[bytes] = self.cell("contents", b"")


class Process(Handle):
    """struct task_struct as far as its threads share it: mm, open files, asynchronous I/O (struct kioctx)."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.mm = world.handle(Mm, f"{name}.mm")
        self.reqs_active: Cell[int] = self.cell("kioctx.reqs_active", 0)
        self.open_fds: Cell[tuple[int, ...]] = self.cell("open_fds", ())

    def fd(self, number: int) -> Cell[File | None]:
        """The open file of that descriptor."""
        return self.cell(f"fd[{number}]", None)


@attrs.frozen
class Cpus:
    """Which CPUs run threads of which process: mm_cpumask, fixed for the life of a scenario."""

    of: tuple[tuple[Process, tuple[str, ...]], ...] = ()

    def running(self, mm: Mm) -> tuple[str, ...]:
        """The CPUs whose TLB may hold entries of `mm`."""
        return next((cpus for process, cpus in self.of if process.mm is mm), ())

    def process_of(self, cpu: str) -> Process | None:
        """The process whose thread has that name: find_task_by_vpid()."""
        return next((process for process, cpus in self.of if cpu in cpus), None)


class Kernel(Named):
    """The kernel as one thread sees it: what `current`, smp_processor_id() and the configuration are there."""

    def __init__(
        self,
        name: str,
        world: World,
        process: Process,
        strategy: Any,
        release: Any,
        words_per_page: int,
        cpus: Cpus,
        *,
        shmem_huge: bool = False,
        reuses: bool = False,
        learn: Learn = as_it_is,
    ) -> None:
        super().__init__(name)
        self.reuses = reuses
        """Whether freed objects are used again (`mmsim.kernel.slab`)."""
        self.learn = learn
        self._calls: dict[Path, Call] = {}
        self.world = world
        self.process = process
        self.strategy = strategy
        self.release = release
        self.words = range(words_per_page)
        self.word_size = PAGE_SIZE // words_per_page
        self.cpus = cpus
        self.shmem_huge = shmem_huge
        self.cpu = name

    @property
    def mm(self) -> Mm:
        """current->mm."""
        return self.process.mm

    def calls(self, path: Path) -> Call:
        """What this thread calls in place of `path(k, ...)`, without `k`."""
        return self._calls.get(path) or self._calls.setdefault(path, self.learn(partial(path, self), part=True))

    async def number(self, made: str) -> int:
        """How many things of a kind this CPU has made before: what the next one is told from them by."""
        return await self.world.cell(f"{self.cpu}.{made}", 0).add_return(1) - 1


def use(word: bytes, page: Page | str = "") -> bytes:
    """The word, if the page it belongs to is in use.  A bug if it is free."""
    if word == POISON:
        msg = f"use of a freed page {page}".rstrip()
        raise KernelBug(msg)
    return word


def patched(old: bytes, offset: int, data: bytes) -> bytes:
    """The word with `data` stored at `offset`."""
    use(old)
    return old[:offset] + data + old[offset + len(data) :]


def taken(old: bytes) -> tuple[bytes, bytes]:
    """A load of a word that must be in use."""
    return old, use(old)
