"""Structs as the compiler lays them out, against the type information of a running kernel and against pahole's rules."""

from __future__ import annotations

import pytest

from mmsim.cells import World
from mmsim.kernel.releases import release_named
from mmsim.kernel.types import File, Inode, Mm, Page
from mmsim.timed.layout import TABLES, Layout, struct

BTF_6_18 = {  # v6.18.44, x86-64: /sys/kernel/btf/vmlinux
    "page": {"flags": 0, "lru": 8, "mapping": 24, "index": 32, "private": 40, "_mapcount": 48, "_refcount": 52, "memcg_data": 56},
    "mapping": {"host": 0, "i_pages": 8, "invalidate_lock": 24, "gfp_mask": 64, "i_mmap_writable": 68, "i_mmap": 72,
                "nrpages": 88, "writeback_index": 96, "a_ops": 104, "flags": 112, "wb_err": 120, "i_private_lock": 124,
                "i_private_list": 128, "i_mmap_mutex": 144, "i_private_data": 184},
    "mm": {"mm_count": 0, "mmap": 64, "pgd": 120, "mm_users": 132, "map_count": 176, "page_table_lock": 180,
           "mmap_lock": 184, "mmlist": 224, "mm_lock_seq": 248, "write_protect_seq": 416},
    "file": {"f_mode": 4, "f_op": 8, "f_mapping": 16, "f_inode": 32, "f_flags": 40, "f_pos_lock": 80, "f_pos": 112, "f_count": 176},
    "sb": {"s_list": 0, "s_flags": 80, "s_umount": 112, "s_writers": 576, "s_readonly_remount": 1096,
           "s_inode_list_lock": 1344, "s_inodes": 1352},
}  # fmt: skip
INODE_6_18 = {"seals": 4, "i_crtime": 64, "i_mode": 128, "i_flags": 140, "i_sb": 168, "i_mapping": 176, "i_ino": 192,
              "i_size": 208, "i_lock": 256, "i_state": 272, "i_mutex": 280, "i_count": 472, "i_writecount": 480,
              "i_fop": 488, "i_data": 504}  # fmt: skip  # shmem_inode_info: vfs_inode is at 128
SIZES_6_18 = {"page": 64, "mapping": 192, "file": 184}


@pytest.mark.parametrize("name", BTF_6_18)
def test_offsets_are_those_of_a_running_kernel(name):
    laid = struct(TABLES["v6.18"][name], 8)
    assert {member: laid.members[member].offset for member in BTF_6_18[name]} == BTF_6_18[name]
    assert laid.size == SIZES_6_18.get(name, laid.size)


def layout(release="v6.18", **options):
    world = World()
    return world, Layout(world, release_named(release), **options)


def test_an_inode_with_its_shmem_part_and_its_mapping():
    _, laid = layout()
    inode = laid.structs["inode"].members
    assert {member: inode[member].offset for member in INODE_6_18} == INODE_6_18


def test_a_struct_page_fills_a_line_and_half_of_one_on_32_bits():
    assert layout("v3.17")[1].page_bytes == layout("v6.18")[1].page_bytes == 64
    assert layout("v3.17", word=4)[1].page_bytes == 32


def test_i_mmap_writable_moved_away_from_the_tree_that_lookups_read():
    near, far = (struct(TABLES[release]["mapping"], 8).members for release in ("v3.17", "v6.18"))
    assert (near["i_pages"].offset, near["i_mmap_writable"].offset) == (8, 28)
    assert (far["i_pages"].offset, far["i_mmap_writable"].offset) == (8, 68)
    world, laid = layout()
    mapping = world.handle(Inode, "f.inode").mapping
    assert laid.place(mapping.i_mmap_writable).kind == "inode+512 (i_pages, i_mmap_writable)"


def test_neighbours_share_a_line_and_strangers_do_not():
    world, laid = layout()
    page, other = world.handle(Page, "main.page[0]"), world.handle(Page, "main.page[1]")
    assert laid.place(page.refcount) == laid.place(page.mapcount) == laid.place(page.lock)
    assert laid.place(page.refcount) != laid.place(other.refcount)
    mm = world.handle(Mm, "main.mm")
    assert laid.place(mm.pte(0x10000)) == laid.place(mm.pte(0x11000)) != laid.place(mm.pte(0x18000))
    assert laid.place(mm.tlb("a", 0x10000)) != laid.place(mm.tlb("b", 0x10000))
    mapping = world.handle(Inode, "f.inode").mapping
    assert laid.place(mapping.slot(3)) == laid.place(mapping.slot(10)) != laid.place(mapping.slot(11))
    assert laid.place(world.handle(File, "f").f_count).owner == "f"


def test_on_32_bits_two_struct_pages_share_a_line():
    world, laid = layout("v3.17", word=4)
    places = [laid.place(world.handle(Page, f"main.page[{n}]").refcount) for n in range(3)]
    assert places[0] == places[1] != places[2]


def test_a_design_that_grows_struct_page_makes_pages_share_lines():
    world, laid = layout(page_extra=8)
    first, second = (world.handle(Page, f"main.page[{n}]") for n in range(2))
    pins = first.cell("write_pins", 0)
    assert laid.page_bytes == 80  # 72, and struct page is aligned to two words
    assert laid.place(pins) != laid.place(first.refcount)  # behind the 64 bytes that were there
    assert laid.place(pins) == laid.place(second.flags)


def test_the_struct_page_of_v3_17_has_a_word_to_spare():
    assert layout("v3.17", page_extra=8)[1].page_bytes == 64
    assert layout("v3.17", page_extra=16)[1].page_bytes == 80


def test_what_a_design_adds_to_an_address_space_lies_behind_it():
    world, laid = layout()
    mapping = world.handle(Inode, "f.inode").mapping
    start = laid._mapping_at() + laid.structs["mapping"].size
    assert laid.place(mapping.cell("user_pins", 0)).number == start // 64


def test_what_is_no_struct_has_a_line_of_its_own():
    world, laid = layout()
    assert laid.place(world.cell("main.pages_made", 0)).owner == "main.pages_made"


def test_old_and_young_releases_take_the_nearest_table():
    assert layout("v3.14")[1].table == layout("v6.12")[1].table == "v3.17"
    assert layout("v7.3")[1].table == "v6.18"
