"""Packets: who may write to the pages that one refers to, and what becomes of them."""

from __future__ import annotations

import pytest

from mmsim.errors import UserError
from mmsim.kernel.releases import V3_17
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    EBUSY,
    ECONNREFUSED,
    F_SEAL_WRITE,
    IPPROTO_TCP,
    IPPROTO_UDP,
    PAGE_SIZE,
    Consumer,
)
from tests.kernel.alone import alone, filled

NOW = "v7.3"


def plain(cipher):
    return bytes(byte ^ 0xFF for byte in cipher)


def sent(protocol, consumer, *, tapped=False, length=8):
    """A page of a file goes into a packet and is read: what was read, what the file has then, the seal afterwards."""

    async def thread(sys, _):
        fd = await filled(sys)
        read, write = await sys.pipe()
        near, far = await sys.inet_socketpair(protocol, consumer, tapped=tapped)
        await sys.splice(fd, 0, write, length)
        await sys.splice(read, None, near, length)
        held = await sys.add_seals(fd, F_SEAL_WRITE)
        return held, await sys.read(far, PAGE_SIZE), await sys.pread(fd, 8), await sys.add_seals(fd, F_SEAL_WRITE)

    return thread


@pytest.mark.parametrize(
    ("protocol", "consumer", "release", "in_place"),
    [
        (IPPROTO_UDP, Consumer.ESP, "v4.9", False),
        (IPPROTO_UDP, Consumer.ESP, "v4.14", True),
        (IPPROTO_UDP, Consumer.ESP, "v6.12", True),
        (IPPROTO_UDP, Consumer.ESP, "v6.12.87", False),
        (IPPROTO_UDP, Consumer.ESP, "v7.0", True),
        (IPPROTO_UDP, Consumer.ESP, NOW, False),
        (IPPROTO_TCP, Consumer.ESP, "v6.12", True),
        (IPPROTO_TCP, Consumer.ESP, "v6.12.87", False),
        (IPPROTO_UDP, Consumer.RXRPC, "v5.3", False),
        (IPPROTO_UDP, Consumer.RXRPC, "v5.4", True),
        (IPPROTO_UDP, Consumer.RXRPC, "v6.12.87", True),
        (IPPROTO_UDP, Consumer.RXRPC, "v6.12.93", False),
        (IPPROTO_UDP, Consumer.RXRPC, NOW, False),
    ],
)
def test_decryption_in_place(protocol, consumer, release, in_place):
    cipher = b"origorig"
    content = plain(cipher) if in_place else cipher
    assert alone(sent(protocol, consumer), release=release) == (-EBUSY, plain(cipher), content, 0)


@pytest.mark.parametrize(
    ("release", "content"),
    [
        ("v5.17", b"origedit"),
        ("v5.19", b"origedit"),
        ("v6.12.93", b"origedit"),
        ("v6.18.44", b"origorig"),
        (NOW, b"origorig"),
    ],
)
def test_pedit_writes_to_more_than_it_copied(release, content):
    told = alone(sent(IPPROTO_UDP, Consumer.PEDIT), release=release)
    assert told == (-EBUSY, b"origedit", content, 0)


def test_pedit_leaves_a_packet_that_is_too_short():
    assert alone(sent(IPPROTO_UDP, Consumer.PEDIT, length=7), release=NOW) == (-EBUSY, b"origori", b"origorig", 0)


def test_pedit_leaves_the_rest_of_a_packet_as_long_as_it_is():
    assert alone(sent(IPPROTO_UDP, Consumer.PEDIT, length=12), release=NOW) == (-EBUSY, b"origeditorig", b"origorig", 0)


@pytest.mark.parametrize("consumer", [Consumer.ESP, Consumer.RXRPC])
def test_a_tapped_packet_is_copied_and_the_tap_keeps_its_own(consumer):
    cipher = b"origorig"
    told = alone(sent(IPPROTO_UDP, consumer, tapped=True), release="v6.12")
    assert told == (-EBUSY, plain(cipher), cipher, -EBUSY)


def test_unsharing_the_head_of_a_tapped_packet_leaves_its_pages_shared():
    told = alone(sent(IPPROTO_UDP, Consumer.PEDIT, tapped=True), release="v5.16")
    assert told == (-EBUSY, b"origedit", b"origedit", -EBUSY)


@pytest.mark.parametrize("release", ["v4.9", "v6.12", NOW])
@pytest.mark.parametrize("protocol", [IPPROTO_UDP, IPPROTO_TCP])
def test_what_was_written_is_decrypted_and_the_writer_keeps_his_own(protocol, release):
    async def thread(sys, _):
        near, far = await sys.inet_socketpair(protocol, Consumer.ESP)
        count = await sys.write(near, plain(b"hello"))
        return count, await sys.read(far, PAGE_SIZE)

    assert alone(thread, release=release) == (5, b"hello")


@pytest.mark.parametrize("release", ["v6.12.87", "v6.12.93"])
def test_tcp_coalesces_and_udp_does_not(release):
    async def thread(sys, _):
        told = []
        for protocol in (IPPROTO_TCP, IPPROTO_UDP):
            near, far = await sys.inet_socketpair(protocol, Consumer.ESP)
            await sys.write(near, b"one")
            await sys.write(near, b"two")
            told.append(plain(await sys.read(far, 9)))
        return told

    assert alone(thread, release=release) == [b"onetwo", b"one"]


@pytest.mark.parametrize(
    ("first", "release", "content"),
    [
        ("written", "v6.12.87", plain(b"orig")),  # the mark stays behind
        ("written", "v6.12.93", b"orig"),
        ("spliced", "v6.12.87", b"orig"),  # the packet that is appended to bears it already
    ],
)
def test_the_mark_of_a_coalesced_packet(first, release, content):
    async def thread(sys, _):
        fd, other = await filled(sys), await filled(sys)
        near, far = await sys.inet_socketpair(IPPROTO_TCP, Consumer.ESP)
        if first == "written":
            await sys.write(near, b"mine")
        else:
            await sys.sendfile(near, other, 0, 4)
        await sys.sendfile(near, fd, 0, 4)
        return len(await sys.read(far, 8)), await sys.pread(fd, 4)

    assert alone(thread, release=release) == (8, content)


def test_nothing_is_appended_to_a_packet_that_somebody_else_has():
    async def thread(sys, _):
        near, far = await sys.inet_socketpair(IPPROTO_TCP, Consumer.ESP, tapped=True)
        await sys.write(near, b"one")
        await sys.write(near, b"two")
        return plain(await sys.read(far, 9)), plain(await sys.read(far, 9))

    assert alone(thread, release=NOW) == (b"one", b"two")


@pytest.mark.parametrize("end", [0, 1])
def test_a_closed_socket_drops_what_it_has_not_read(end):
    async def thread(sys, _):
        fd = await filled(sys)
        ends = await sys.inet_socketpair(IPPROTO_UDP, Consumer.ESP)
        await sys.sendfile(ends[0], fd, 0, 4)
        await sys.close(ends[end])
        sealed = await sys.add_seals(fd, F_SEAL_WRITE)
        return sealed, await sys.write(ends[0], b"more") if end else await sys.read(ends[1], 4)

    told = alone(thread, release=NOW)
    assert told == [(-EBUSY, plain(b"orig")), (0, -ECONNREFUSED)][end]


def test_a_receiver_whose_peer_is_gone_has_read_all():
    async def thread(sys, _):
        near, far = await sys.inet_socketpair(IPPROTO_TCP, Consumer.ESP)
        await sys.close(near)
        return await sys.read(far, 4)

    assert alone(thread, release=NOW) == b""


@pytest.mark.parametrize(("protocol", "consumer"), [(IPPROTO_TCP, Consumer.RXRPC), (1, Consumer.ESP)])
def test_a_protocol_that_is_not_modelled_is_told_in_a_sentence(protocol, consumer):
    async def setup(sys):
        await sys.inet_socketpair(protocol, consumer)

    with pytest.raises(UserError, match=f"sockets of protocol {protocol} .* are not modelled: take UDP"):
        boot(Scenario(setup=setup, threads=()), wait_for_pins, V3_17)
