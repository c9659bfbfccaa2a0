"""Reference counts near the end of their 32 bits, and those who add to them."""

from __future__ import annotations

import pytest

from mmsim.cells import INT_MAX, World, is_used_up, wrapped
from mmsim.kernel.crowd import referred
from mmsim.steps import KernelBug
from mmsim.syscalls import (
    EBADF,
    EFAULT,
    EINVAL,
    ENOMEM,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
)
from tests.kernel.alone import alone, filled

SLOW = Device("slow")
INT_MIN = -INT_MAX - 1


@pytest.mark.parametrize(
    ("count", "value"),
    [(0, 0), (INT_MAX, INT_MAX), (INT_MAX + 1, INT_MIN), (2**32 - 1, -1), (2**32, 0), (INT_MIN - 1, INT_MAX)],
)
def test_a_count_has_32_bits(count, value):
    assert wrapped(count) == value


def stepped(step, old):
    return step.alternatives(old)[0]


def test_each_verb_of_a_counter_wraps():
    cell = World().cell("_refcount", 0)
    assert stepped(cell.inc(), INT_MAX) == (INT_MIN, None)
    assert stepped(cell.dec(), INT_MIN) == (INT_MAX, None)
    assert stepped(cell.add(5), -3) == (2, None)
    assert stepped(cell.add_return(1), INT_MAX) == (INT_MIN, INT_MIN)
    assert stepped(cell.inc_not_zero(), INT_MAX) == (INT_MIN, True)
    assert stepped(cell.get_reference(), INT_MAX) == (INT_MIN, None)
    assert stepped(cell.dec_and_test(), INT_MIN) == (INT_MAX, False)


@pytest.mark.parametrize("count", [0, -1, -127])
def test_a_count_just_below_zero_was_given_back_too_often(count):
    cell = World().cell("_refcount", 0)
    assert is_used_up(count)
    for step in (cell.get_reference(), cell.dec_and_test()):
        with pytest.raises(KernelBug):
            step.alternatives(count)
    with pytest.raises(KernelBug):
        referred(count, 1, False)


@pytest.mark.parametrize("count", [1, INT_MAX, INT_MIN, -128])
def test_any_other_count_has_references(count):
    assert not is_used_up(count)


@pytest.mark.parametrize(
    ("count", "wanted", "refusing", "after", "granted"),
    [
        (3, 10, False, 13, 10),
        (3, 10, True, 13, 10),
        (3, 2**32 - 2, False, 1, 2**32 - 2),
        (3, 2**32 - 2, True, INT_MIN, 2**31 - 3),
        (INT_MAX, 5, True, INT_MIN, 1),
        (INT_MIN, 5, True, INT_MIN, 0),
        (INT_MIN, 5, False, INT_MIN + 5, 5),
    ],
)
def test_a_crowd_does_what_its_members_would_one_by_one(count, wanted, refusing, after, granted):
    assert referred(count, wanted, refusing) == (after, granted)


async def piped(sys):
    fd = await filled(sys)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.load(buffer, 4)
    read, write = await sys.pipe()
    await sys.splice(fd, 0, write, PAGE_SIZE)
    return fd, buffer, read


def test_bad_input_to_tee_many():
    async def caller(sys, _):
        fd, _, read = await piped(sys)
        _, write = await sys.pipe()
        return (
            await sys.tee_many(99, 1),
            await sys.tee_many(write, 1),
            await sys.tee_many(fd, 1),
            await sys.tee_many(read, -1),
            await sys.tee_many(read, 0),
            await sys.tee_many(read, 3),
        )

    assert alone(caller) == (-EBADF, -EBADF, -EINVAL, -EINVAL, 0, 3)


@pytest.mark.parametrize("release", ["v3.17", "v5.0"])
def test_before_v5_1_nobody_is_refused(release):
    async def caller(sys, _):
        _, buffer, read = await piped(sys)
        _, into = await sys.pipe()
        granted = await sys.tee_many(read, 2**31)
        io = await sys.submit_direct_read(SLOW, buffer, b"late")
        return granted, await sys.tee(read, into, PAGE_SIZE), await sys.wait_for(io)

    assert alone(caller, release=release, devices=(SLOW,)) == (2**31, PAGE_SIZE, 4)


@pytest.mark.parametrize("release", ["v5.1", "v6.18"])
def test_since_v5_1_whoever_refers_for_a_user_is_refused(release):
    async def caller(sys, _):
        _, buffer, read = await piped(sys)
        _, into = await sys.pipe()
        granted = await sys.tee_many(read, 2**32)
        return (
            granted > 0,
            await sys.tee_many(read, 1),
            await sys.tee(read, into, PAGE_SIZE),
            await sys.submit_direct_read(SLOW, buffer, b"late"),
            await sys.submit_direct_write(SLOW, buffer, PAGE_SIZE),
            await sys.register_buffer(buffer, PAGE_SIZE),
            await sys.vmsplice(into, buffer, PAGE_SIZE),
            await sys.process_vm_writev(None, buffer, b"late"),
            await sys.load(buffer, 4),
        )

    refused = (-EFAULT, -EFAULT, -ENOMEM, -ENOMEM, -ENOMEM, -ENOMEM, -EFAULT)
    assert alone(caller, release=release, devices=(SLOW,)) == (True, *refused, b"orig")
