"""Which cache line a cell lies on: the kernel's structs, member by member, as the compiler lays them out.

The tables are what pahole prints, from which the offsets follow by the rules of the ABI for either size of a word:

    v3.17   include/linux/mm_types.h, fs.h and shmem_fs.h, with CONFIG_SMP and without debugging
    v6.18   the type information (BTF) of a running v6.18.44 for x86-64; tests/timed/test_layout.py has its offsets

A release is laid out as the youngest table that is not younger.  What a design adds to struct page (`Budget`) follows
its members, so a page's struct grows and no longer fills whole lines; what it adds to struct address_space follows
that.

A vm_area_struct has no cells of its own: the VMAs are the value of mm_struct's `mmap`, and looking at one is looking at
that line.  A small folio is its struct page; its `_pincount` is counted in `_refcount`, in steps of 1024.

Not modelled: colouring, merged slabs and where the allocator puts an object within a line (each object begins a line,
but struct pages lie one after the other, in the order in which they are first touched); percpu counters; statistics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

import attrs

from mmsim.cells import Cell, Handle, World
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.types import AddressSpace, File, Inode, Mm, Page, SuperBlock
from mmsim.versions import version

# A member is `name:type`, with `/`s between the names of cells that lie in it; a type is a number of bytes, `w` a word,
# `2w` two of them, `8!` eight bytes aligned to a word, or one of the composites; `@64` begins a new line.
COMPOSITES: Final = {
    "spinlock": "4",
    "atomic": "4",
    "mutex_v3": "4 4 2w w w",  # count, wait_lock, wait_list, owner, osq
    "mutex": "w 4 4 2w",  # owner, wait_lock, osq, wait_list
    "rwsem_v3": "w 2w 4 4 w",  # count, wait_list, wait_lock, osq, owner
    "rwsem": "w w 4 4 2w",  # count, owner, osq, wait_lock, wait_list
    "timespec": "w w",
}

_PAGE_V3 = "flags/PG_locked:w mapping:w index:w _mapcount:4 _refcount/_pincount:4 lru:2w private:w"
_PAGE_V6 = "flags/PG_locked:w lru:2w mapping:w index:w private:w _mapcount:4 _refcount/_pincount:4 memcg_data:w"

_MAPPING_V3 = """
    host:w i_pages:4 i_pages.gfp_mask:4 i_pages.rnode:w tree_lock:spinlock i_mmap_writable:atomic i_mmap:w
    i_mmap_nonlinear:2w i_mmap_mutex:mutex_v3 nrpages:w nrshadows:w writeback_index:w a_ops:w flags:w
    backing_dev_info:w private_lock:spinlock private_list:2w private_data:w
"""
_MAPPING_V6 = """
    host:w i_pages:4 i_pages.xa_flags:4 i_pages.xa_head:w invalidate_lock:rwsem gfp_mask:4 i_mmap_writable:atomic
    i_mmap:2w nrpages:w writeback_index:w a_ops:w flags:w wb_err:4 i_private_lock:spinlock i_private_list:2w
    i_mmap_mutex:rwsem i_private_data:w
"""

_INODE_V3 = """
    lock:spinlock seals:4 shmem.flags:w alloced:w swapped:w policy.root:w policy.lock:spinlock swaplist:2w
    xattrs:2w xattrs.lock:spinlock
    i_mode:2 i_opflags:2 i_uid:4 i_gid:4 i_flags:4 i_acl:w i_default_acl:w i_op:w i_sb:w i_mapping:w i_security:w
    i_ino:w i_nlink:4 i_rdev:4 i_size:8 i_atime:timespec i_mtime:timespec i_ctime:timespec i_lock:spinlock i_bytes:2
    i_blkbits:4 i_blocks:8 i_state:w i_mutex:mutex_v3 dirtied_when:w i_hash:2w i_wb_list:2w i_lru:2w i_sb_list:2w
    i_rcu:2w i_version:8 i_count:4 i_dio_count:4 i_writecount/_writecount:4 i_fop:w i_flock:w i_data:{mapping}
    i_rest:8w
"""
_INODE_V6 = """
    lock:spinlock seals:4 shmem.flags:w alloced:w swapped:w shrinklist:2w swaplist:2w i_crtime:8 i_crtime.nsec:8
    xattrs:2w fallocend:w fsflags:4 stop_eviction:4 policy:2w
    i_mode:2 i_opflags:2 i_uid:4 i_gid:4 i_flags:4 i_acl:w i_default_acl:w i_op:w i_sb:w i_mapping:w i_security:w
    i_ino:w i_nlink:4 i_rdev:4 i_size:8 i_atime_sec:8 i_mtime_sec:8 i_ctime_sec:8 i_nsecs:4 i_nsecs2:4 i_nsecs3:4
    i_generation:4 i_lock:spinlock i_bytes:2 i_blkbits:1 i_write_hint:1 i_blocks:8 i_state:4 i_mutex:rwsem
    dirtied_when:w dirtied_time_when:w i_hash:2w i_io_list:2w i_wb:w i_wb_frn:4 i_wb_frn_history:2 i_lru:2w i_kept:w
    i_sb_list:2w i_wb_list:2w i_rcu:2w i_version:8 i_sequence:8 i_count:4 i_dio_count:4 i_writecount/_writecount:4
    i_readcount:4 i_fop:w i_flctx:w i_data:{mapping} i_rest:5w
"""

_MM_V3 = """
    mmap:w mm_rb:w vmacache_seqnum:4 get_unmapped_area:w mmap_base:w mmap_legacy_base:w task_size:w highest_vm_end:w
    pgd:w mm_users:4 mm_count:4 nr_ptes:w map_count:4 page_table_lock:spinlock mmap_lock:rwsem_v3 mmlist:2w mm_rest:60w
"""
_MM_V6 = """
    mm_count:4 @64 mmap:2w mmap_base:w mmap_legacy_base:w mmap_compat_base:w mmap_compat_legacy_base:w task_size:w
    pgd:w membarrier_state:4 mm_users:4 mm_cid:4w pgtables_bytes:w map_count:4 page_table_lock:spinlock
    mmap_lock:rwsem mmlist:2w vma_writer_wait:w mm_lock_seq:4 futexes:20w write_protect_seq:4 mm_rest:131w
"""

_FILE_V3 = """
    f_u:2w f_path:2w f_inode:w f_op:w f_lock:spinlock f_count:w f_flags:4 f_mode:4 f_pos_lock:mutex_v3 f_pos:8
    f_rest:14w f_mapping:w
"""
_FILE_V6 = """
    f_lock:spinlock f_mode:4 f_op:w f_mapping:w private_data:w f_inode:w f_flags:4 f_iocb_flags:4 f_cred:w f_owner:w
    f_path:2w f_pos_lock:mutex f_pos:8 f_security:w f_wb_err:4 f_sb_err:4 f_ep:w f_ra:4w f_count:w
"""
_SB_V3 = "s_list:2w s_dev:4 s_blocksize:w s_maxbytes:8 s_type:4w s_flags/s_readonly:w s_rest:40w s_inodes:2w"
_SB_V6 = """
    s_list:2w s_dev:4 s_blocksize_bits:1 s_blocksize:w s_maxbytes:8 s_type:5w s_flags/s_readonly:w s_iflags:w s_magic:w
    s_root:w s_umount:rwsem s_mid:53w s_writers:39w s_late:26w s_readonly_remount:4 s_tail:30w
    s_inode_list_lock:spinlock s_inodes:2w
"""

XA_NODE_HEADER: Final = {"v3.17": "4 4 w w 2w 2w", "v6.18": "4 w w 2w"}
"""struct radix_tree_node (path, count, parent, private_data, private_list, rcu), struct xa_node: before the slots."""

TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "v3.17": {"page": _PAGE_V3, "mapping": _MAPPING_V3, "inode": _INODE_V3, "mm": _MM_V3, "file": _FILE_V3,
              "sb": _SB_V3},
    "v6.18": {"page": _PAGE_V6, "mapping": _MAPPING_V6, "inode": _INODE_V6, "mm": _MM_V6, "file": _FILE_V6,
              "sb": _SB_V6},
}  # fmt: skip

STRUCTS: Final = {Page: "page", AddressSpace: "mapping", Inode: "inode", Mm: "mm", File: "file", SuperBlock: "sb"}
NAMES: Final = {
    "page": "struct page", "mapping": "address_space", "inode": "inode", "mm": "mm_struct", "file": "file",
    "sb": "super_block",
}  # fmt: skip

_NUMBERED = re.compile(r"(?P<field>pte|i_pages|fd|word|tlb)\[(?P<number>0x[0-9a-f]+|[0-9]+)\]")


class Member(NamedTuple):
    """Where a member lies in its struct."""

    offset: int
    size: int


@attrs.frozen
class Struct:
    """A struct as the compiler lays it out."""

    members: Mapping[str, Member]
    size: int


def struct(text: str, word: int) -> Struct:
    """Lay the members of a table out for a word of `word` bytes."""
    members: dict[str, Member] = {}
    at, align = 0, 1
    for token in text.split():
        if token.startswith("@"):
            at = _up(at, int(token[1:]))
            continue
        names, _, kind = token.rpartition(":")
        begin = None
        for unit in COMPOSITES.get(kind, kind).split():
            size, alignment = _unit(unit, word)
            at = _up(at, alignment)
            begin = at if begin is None else begin
            at += size
            align = max(align, alignment)
        assert begin is not None
        for name in names.split("/"):
            members[name] = Member(begin, at - begin)
    return Struct(members, _up(at, align))


def _unit(text: str, word: int) -> tuple[int, int]:
    """(size, alignment)"""
    if text.endswith("w"):
        return int(text[:-1] or 1) * word, word
    size = int(text)
    return size, min(size, 8)


def _up(number: int, to: int) -> int:
    return -(-number // to) * to


class Place(NamedTuple):
    """A line: whose, and which of its owner's (or of all struct pages'); `kind` is how statistics call it."""

    owner: str
    number: int
    kind: str


class Layout:
    """Places cells on lines for one machine, one release and one design."""

    def __init__(
        self, world: World, release: Release, *, word: int = 8, line_bytes: int = 64, page_extra: int = 0
    ) -> None:
        self.line_bytes = line_bytes
        self.word = word
        self._world = world
        known = [name for name in TABLES if version(name) <= version(release.name)]
        self.table = max(known, key=version) if known else min(TABLES, key=version)
        texts = TABLES[self.table]
        mapping = struct(texts["mapping"], word)
        # struct page is aligned to two words for the sake of cmpxchg_double(), as slub wants it: that of v3.17 has a
        # word to spare.
        self.page_bytes = _up(struct(texts["page"], word).size + page_extra, 2 * word)
        self.structs = {
            name: struct(text.replace("{mapping}", f"{mapping.size // word}w"), word) for name, text in texts.items()
        }
        header = struct(" ".join(f"m{i}:{unit}" for i, unit in enumerate(XA_NODE_HEADER[self.table].split())), word)
        self._slots_at = header.size
        self._pages: dict[Handle, int] = {}
        self._kinds: dict[tuple[str, int], str] = {}
        self._added: dict[type[Handle], dict[str, int]] = {}

    def place(self, cell: Cell[Any]) -> Place:
        """The line that a cell lies on."""
        owner, field = self._owner(cell)
        numbered = _NUMBERED.match(field)
        if numbered is not None:
            return self._numbered(cell.name, owner, numbered["field"], int(numbered["number"], 0))
        kind = next((kind for kind in STRUCTS if isinstance(owner, kind)), None)
        if kind is None or owner is None:
            what = type(owner).__name__ if owner is not None else "private"
            return Place(cell.name, 0, f"{what}.{field}")
        member = self.structs[STRUCTS[kind]].members.get(field)
        offset = member.offset if member is not None else self._added_at(kind, field)
        name, base = owner.name, 0
        if kind is Page:
            name, base = "vmemmap", self._pages.setdefault(owner, len(self._pages)) * self.page_bytes
            return Place(name, (base + offset) // self.line_bytes, NAMES["page"])
        if kind is AddressSpace:
            name, base = name.removesuffix(".i_data"), self.structs["inode"].members["i_data"].offset
        number = (base + offset) // self.line_bytes
        return Place(name, number, self._kind("inode" if kind is AddressSpace else STRUCTS[kind], number))

    def _owner(self, cell: Cell[Any]) -> tuple[Handle | None, str]:
        """The object that a cell is a field of; the longest beginning of its name that names one."""
        name = cell.name
        end = len(name)
        while (end := name.rfind(".", 0, end)) > 0:
            owner = self._world.named(name[:end])
            if isinstance(owner, Handle):
                return owner, name[end + 1 :]
        return None, name

    def _numbered(self, name: str, owner: Handle | None, field: str, number: int) -> Place:
        whose = owner.name if owner is not None else name
        if field == "tlb":
            return Place(name, 0, "TLB")
        if field == "word":
            return Place(name, 0, "memory")
        if field == "pte":
            return Place(f"{whose}.page_table", (number >> 12) * self.word // self.line_bytes, "page table")
        if field == "fd":
            return Place(f"{whose}.fdtable", number * self.word // self.line_bytes, "fdtable")
        node, slot = divmod(number, 64)
        return Place(f"{whose}.i_pages[{node}]", (self._slots_at + slot * self.word) // self.line_bytes, "xa_node")

    def _added_at(self, kind: type[Handle], field: str) -> int:
        """Where a design's own field lies: behind the struct's members, four bytes each (debts and lists a word)."""
        fields = self._added.setdefault(kind, {})
        return self.structs[STRUCTS[kind]].size + fields.setdefault(field, 4 * len(fields))

    def _kind(self, name: str, number: int) -> str:
        """`inode+448 (i_pages, i_mmap_writable)`: a line of a struct, with the cells that the model has on it."""
        known = self._kinds.get((name, number))
        if known is None:
            start = number * self.line_bytes
            known = self._kinds[name, number] = f"{NAMES[name]}+{start} ({', '.join(self.on_line(name, start))})"
        return known

    def on_line(self, name: str, start: int) -> list[str]:
        """The members that are cells of the model and lie on the line that begins at `start`."""
        found = []
        for struct_name, base in ((name, 0), *((("mapping", self._mapping_at()),) if name == "inode" else ())):
            for member, (offset, _) in self.structs[struct_name].members.items():
                if member in MODELLED and start <= base + offset < start + self.line_bytes:
                    found.append(member)
        return found

    def _mapping_at(self) -> int:
        return self.structs["inode"].members["i_data"].offset


def layout_of(world: World, release: Release, strategy: Strategy, figures: Shape) -> Layout:
    """The layout of a machine of that shape, with what the design adds to struct page."""
    budget = strategy.budget
    extra = budget.struct_page_bytes_64 if figures.word == WORD_64 else budget.struct_page_bytes_32
    return Layout(world, release, word=figures.word, line_bytes=figures.line_bytes, page_extra=extra)


WORD_64: Final = 8


class Shape(Protocol):
    """What a layout must know of a machine; `mmsim.timed.costs.Figures` is one."""

    @property
    def word(self) -> int:
        """Bytes."""
        ...

    @property
    def line_bytes(self) -> int:
        """Bytes."""
        ...


MODELLED: Final = frozenset(
    {"seals", "i_flags", "i_mode", "i_mutex", "i_size", "i_pages", "i_mmap_writable", "i_mmap", "i_mmap_mutex",
     "_writecount", "mmap", "mmap_lock", "page_table_lock", "write_protect_seq", "f_count", "f_pos", "f_pos_lock",
     "s_readonly", "s_readonly_remount", "s_inodes"}
)  # fmt: skip
"""The members that the model has cells for."""
