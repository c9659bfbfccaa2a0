"""Answers that tell a kernel with one small mistake in it from a sane one: a sign, an index, a loop that ends early."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.errors import UserError
from mmsim.kernel.pipe import PIPE_DEF_BUFFERS
from mmsim.kernel.releases import V3_17, release_named
from mmsim.scenario import Scenario
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.strategies.writable_user_pages import writable_user_pages_slow
from mmsim.syscalls import (
    EBADMSG,
    EINVAL,
    ENOMEM,
    EPERM,
    EPIPE,
    ETXTBSY,
    F_SEAL_EXEC,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
    UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING,
    Device,
    Mount,
    fill,
)
from mmsim.verdict import Holds, Violated
from tests.kernel.alone import alone, filled, nothing, outcomes
from tests.mutants import scenes
from tests.mutants.scenes import WINDOW

RW = PROT_READ | PROT_WRITE
DISK, EXT4, TMP = Device("nvme"), Mount("disk", "ext4"), Mount("tmp")
NOW = "v6.18"


def refused(thread, *, children=(), release=NOW):
    """What a scenario is told that asks for what there is not."""
    scenario = Scenario(setup=nothing, threads=(thread,), children=children)
    with pytest.raises(UserError) as told:
        check(Test("t", scenario, wait_for_pins, release_named(release)))
    return str(told.value)


def test_what_is_not_modelled_is_told_with_the_line_that_asks_for_it():
    async def mover(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        await sys.move_pages(window)

    said = "(await sys.move_pages(window)): move_pages() of a private copy is not modelled"
    assert refused(mover).startswith("thread mover, at test_small_mistakes.py:")
    assert refused(mover).endswith(said)


# ---- fork and execve


@pytest.mark.parametrize("pinned", [False, True], ids=["not there", "pinned"])
def test_fork_copies_what_follows_a_page_that_is(pinned):
    async def child(sys, window):
        return await sys.load(0x11000, 4)

    async def parent(sys, _):
        window = await sys.mmap(await filled(sys, 2), RW, MAP_PRIVATE, 2 * PAGE_SIZE)
        await sys.store(window + PAGE_SIZE, b"mine")
        io = await sys.submit_direct_read(DISK, window, b"late") if pinned else 0
        await sys.fork(child)
        await sys.store(window + PAGE_SIZE, b"next")
        return await sys.wait_for(io)

    told = outcomes(parent, children=(child,), devices=(DISK,), release=NOW)
    assert told == {"parent": 4 if pinned else 0, "child": b"mine"}


def test_nobody_forks_himself():
    async def child(sys, _):
        await sys.fork(child)

    async def parent(sys, _):
        await sys.fork(child)

    assert "list it in `children` after the child that forks it" in refused(parent, children=(child,))


def test_a_design_that_asks_before_execve_does_not_forget_who_has_the_file_open():
    async def program(sys, _):
        await sys.pwrite(await sys.open(TMP, "prog", O_RDWR | O_CREAT), fill(b"text"))
        return await sys.execve(TMP, "prog")

    assert alone(program, mounts=(TMP,), strategy=delayed_unmap) == -ETXTBSY


def test_where_execve_denies_nobody_nothing_is_taken_back():
    async def child(sys, _):
        await sys.exit()

    async def program(sys, _):
        for name in ("prog", "other"):
            fd = await sys.open(TMP, name, O_RDWR | O_CREAT)
            await sys.pwrite(fd, fill(b"text"))
            await sys.close(fd)
        await sys.execve(TMP, "prog")
        await sys.fork(child)
        return await sys.load(await sys.execve(TMP, "other"), 4)

    told = outcomes(program, children=(child,), mounts=(TMP,), strategy=delayed_unmap, release="v6.12")
    assert told == {"program": b"text", "child": None}


# ---- sockets


def test_a_socket_is_read_in_the_order_it_was_written():
    async def caller(sys, _):
        one, other = await sys.socketpair()
        await sys.write(one, b"ab")
        await sys.write(one, b"cd")
        return await sys.read(other, 3), await sys.read(other, 3)

    assert alone(caller) == (b"abc", b"d")


def test_the_sequence_number_is_parked_where_the_tag_begins():
    async def caller(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        operation = await sys.af_alg()
        for offset in (0, 32):
            await sys.splice(fd, offset, write, 16)
            await sys.splice(read, None, operation, 16)
        decrypted = await sys.read(operation, 32)
        return decrypted, await sys.pread(fd, 4), await sys.pread(fd, 4, 32)

    assert alone(caller, release="v4.14") == (-EBADMSG, b"orig", b"esn!")


# ---- pages in great numbers, and I/O in small


def test_a_page_that_one_pipe_has_may_be_teed():
    async def caller(sys, _):
        read, write = await sys.pipe()
        await sys.write(write, b"x")
        return await sys.tee_many(read, 3)

    assert alone(caller, release="v5.1") == 3


@pytest.mark.parametrize(("data", "answer"), [(b"", -EINVAL), (b"x", 1)])
def test_the_least_that_a_device_reads(data, answer):
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        return await sys.wait_for(await sys.submit_direct_read(DISK, window, data))

    assert alone(caller, devices=(DISK,)) == answer


def test_a_byte_is_read_into_a_registered_buffer():
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        buffer = await sys.register_buffer(window)
        io = await sys.submit_read_fixed(DISK, buffer, b"x")
        return await sys.wait_for(io), await sys.load(window, 4)

    assert alone(caller, devices=(DISK,), release=NOW) == (1, b"xrig")


@pytest.mark.parametrize(("start", "length"), [(0, 1), (1, PAGE_SIZE)])
def test_a_registered_buffer_of_parts_of_pages_is_not_modelled(start, length):
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        await sys.register_buffer(window + start, length)

    assert "whole pages" in refused(caller)


# ---- pins


def test_a_pin_says_whether_it_was_taken_without_a_lock():
    """The design that counts no such pin misses those of pages that are in the page table already, and only those."""
    found = [
        check(Test("t", scenes.scene(setup, scenes.leaver, scenes.sealer), writable_user_pages_slow, V3_17))
        for setup in (scenes.touched, scenes.mapped)
    ]
    assert [type(verdict) for verdict in found] == [Violated, Holds]


@pytest.mark.parametrize(("release", "kept"), [("v5.10", False), (NOW, True)])
def test_fork_tells_by_the_pin_what_is_pinned(release, kept):
    """A page that the fault brought in: fork() leaves it to the parent if whoever pinned it says FOLL_PIN."""

    async def parent(sys, _):
        await sys.submit_direct_read(DISK, WINDOW, b"late")
        await sys.fork(scenes.child)
        await sys.store(WINDOW + 4, b"next")

    scene = Scenario(setup=scenes.private, threads=(parent,), children=(scenes.child,), devices=(DISK,))
    found = check(Test("t", scene, wait_for_pins, release_named(release)))
    assert isinstance(found, Holds if kept else Violated)


def test_what_a_userfaultfd_resolves_is_pinned_after_what_was_pinned_before_it():
    async def setup(sys):
        fd = await filled(sys)
        await sys.ftruncate(fd, 3 * PAGE_SIZE)
        window = await sys.mmap(fd, RW, MAP_SHARED, 3 * PAGE_SIZE)
        await sys.uffd_register(window + PAGE_SIZE, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)

    async def resolver(sys, _):
        await sys.uffd_copy(WINDOW + PAGE_SIZE, fill(b"copy"))

    async def writer(sys, _):
        return await sys.wait_for(await sys.submit_direct_write(DISK, WINDOW, 2 * PAGE_SIZE))

    scene = Scenario(setup=setup, threads=(resolver, writer), devices=(DISK,))
    found = check(Test("t", scene, wait_for_pins, release_named(NOW)))
    assert isinstance(found, Holds)
    answers = {dict(outcome)["writer"] for outcome in found.outcomes}
    assert {answer for answer in answers if isinstance(answer, int)} == {2 * PAGE_SIZE}  # the device may stay silent


# ---- files on a disk


def test_a_page_that_was_cut_off_its_file_is_dirtied_for_nobody():
    async def caller(sys, _):
        fd = await sys.open(EXT4, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, fill(b"orig"))
        window = await sys.mmap(fd, RW, MAP_SHARED)
        io = await sys.submit_direct_read(DISK, window, b"late")
        return await sys.ftruncate(fd, 0), await sys.wait_for(io)

    assert alone(caller, devices=(DISK,), mounts=(EXT4,)) == (0, 4)


def test_a_file_on_a_disk_is_written_across_pages():
    async def caller(sys, _):
        fd = await sys.open(EXT4, "f", O_RDWR | O_CREAT)
        data = b"ab" + fill(b"orig") + b"yz"
        written = await sys.pwrite(fd, data, PAGE_SIZE - 2)
        again = await sys.pwrite(fd, b"AB", PAGE_SIZE - 2)
        await sys.sync()
        seen, disk = await sys.pread(fd, 4 * PAGE_SIZE), await sys.disk_contents(EXT4, "f")
        return written == len(data), again, seen == disk == bytes(PAGE_SIZE - 2) + b"AB" + data[2:]

    assert alone(caller, mounts=(EXT4,)) == (True, 2, True)


def test_no_private_copy_outlives_what_it_was_copied_from():
    async def caller(sys, _):
        fd = await sys.open(EXT4, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, fill(b"orig"))
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        return await sys.ftruncate(fd, 0), await sys.load(window, 4)

    assert alone(caller, mounts=(EXT4,)) == (0, SIGBUS)


def test_a_truncation_to_the_same_size_clears_what_lies_beyond():
    async def caller(sys, _):
        fd = await sys.open(EXT4, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, b"orig")
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.store(window, b"nextlate")
        return await sys.ftruncate(fd, 4), await sys.load(window, 8)

    assert alone(caller, mounts=(EXT4,)) == (0, b"next" + bytes(4))


@pytest.mark.parametrize("end", [0, 4, PAGE_SIZE, PAGE_SIZE + 4])
def test_what_a_truncation_cut_off_comes_back_as_zeros(end):
    async def caller(sys, _):
        fd = await sys.open(EXT4, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, fill(b"orig", 3) + b"tail")
        await sys.sync()
        answers = await sys.ftruncate(fd, end), await sys.ftruncate(fd, 3 * PAGE_SIZE + 4)
        await sys.sync()
        return answers, await sys.pread(fd, 4 * PAGE_SIZE) == await sys.disk_contents(EXT4, "f") == expected

    expected = fill(b"orig", 3)[:end] + bytes(3 * PAGE_SIZE + 4 - end)
    assert alone(caller, mounts=(EXT4,)) == ((0, 0), True)


# ---- moving


def test_a_mapping_stays_where_it_is_unless_it_may_move():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        await sys.mmap(fd, RW, MAP_SHARED)
        return await sys.mremap(window, PAGE_SIZE, 2 * PAGE_SIZE)

    assert alone(caller) == -ENOMEM


# ---- pipes and sockets


def test_what_fills_a_page_of_a_pipe_to_its_end_is_appended():
    async def caller(sys, _):
        _, write = await sys.pipe()
        return [await sys.write(write, bytes(PAGE_SIZE // 2)) for _ in range(2 * PIPE_DEF_BUFFERS)]

    assert alone(caller) == [PAGE_SIZE // 2] * 2 * PIPE_DEF_BUFFERS


def test_a_splice_to_a_socket_that_nobody_reads_ends():
    async def caller(sys, _):
        read, write = await sys.pipe()
        near, far = await sys.socketpair()
        await sys.write(write, b"left")
        await sys.close(far)
        return await sys.splice(read, None, near, 4)

    assert alone(caller, release="v4.8") == -EPIPE


# ---- who is told of a fault, and who may read


@pytest.mark.parametrize(("prot", "seen"), [(RW, bytes(4)), (0, SIGSEGV)])
def test_of_a_hole_nobody_is_told_who_asked_for_pages_that_are_there(prot, seen):
    async def caller(sys, _):
        fd = await sys.memfd_create("frame")
        await sys.ftruncate(fd, PAGE_SIZE)
        window = await sys.mmap(fd, prot, MAP_SHARED)
        return await sys.uffd_register(window, PAGE_SIZE, UFFDIO_REGISTER_MODE_MINOR), await sys.load(window, 4)

    assert alone(caller, release=NOW) == (0, seen)


# ---- modes and sizes


def test_a_memfd_may_be_executed_by_all():
    async def caller(sys, _):
        fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
        await sys.add_seals(fd, F_SEAL_EXEC)
        return await sys.fchmod(fd, 0o777), await sys.fchmod(fd, 0o776)

    assert alone(caller, release="v6.3") == (0, -EPERM)


def test_a_chunk_of_a_write_is_a_huge_page_at_most():
    assert release_named("v7.3").write_chunk == 2 << 20
