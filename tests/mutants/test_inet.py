"""Mistakes in sockets whose packets somebody changes, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.check.books import LEAK
from mmsim.check.promises import SEALED
from mmsim.kernel.inet import InetSocket, captured
from mmsim.kernel.net import queued
from mmsim.kernel.releases import change
from mmsim.kernel.skbuff import skb_clone
from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, IPPROTO_TCP, IPPROTO_UDP, MFD_ALLOW_SEALING, Consumer, fill
from tests.mutants.judged import Mutant, each

FD, NEAR, FAR = 3, 4, 5
NEVER = change("in no release", "v1.0..v1.1")
NOW = "v7.3"

# ---- scenes


def sealed(protocol, consumer, *, tapped=False):
    """A setup: a sealed file and two sockets."""

    async def setup(sys):
        fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
        await sys.pwrite(fd, fill(b"orig"))
        await sys.add_seals(fd, F_SEAL_WRITE)
        await sys.inet_socketpair(protocol, consumer, tapped=tapped)

    return setup


async def sends(sys, _):
    await sys.sendfile(NEAR, FD, 0, 8)


async def sends_and_reads(sys, _):
    await sys.sendfile(NEAR, FD, 0, 8)
    await sys.read(FAR, 8)


async def writes_then_sends(sys, _):
    await sys.write(NEAR, b"mine")
    await sys.sendfile(NEAR, FD, 0, 8)
    await sys.read(FAR, 12)


async def sends_and_closes(sys, _):
    await sys.sendfile(NEAR, FD, 0, 8)
    await sys.close(FAR)


async def sends_to_nobody(sys, _):
    await sys.close(FAR)
    await sys.sendfile(NEAR, FD, 0, 8)


# ---- mistakes


async def nothing(*_):
    return None


async def clone_without_references(skb):
    return attrs.evolve(skb, cloned=True)


async def deliver_without_a_word(_k, file, skb):
    await file.tap.update(captured, await skb_clone(skb))
    await file.queue.fetch_update(queued, skb)
    return skb.length


async def writable_as_it_is(_k, skb):
    return skb


def nothing_held(_self, _view):
    return ()


assert InetSocket.f_op is not None
FORGETFUL = attrs.evolve(InetSocket.f_op, release=nothing)


def mutant(name, setup, thread, property_, *patches, release=NOW):
    return Mutant(name, Scenario(setup=setup, threads=(thread,)), property_, patches, release=release)


@each(
    [
        mutant(
            "ESP does not ask for shared fragments",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_and_reads,
            SEALED,
            ("kernel.esp", "ESP_ASKS_FOR_SHARED_FRAGS", NEVER),
        ),
        mutant(
            "UDP does not mark what is spliced",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_and_reads,
            SEALED,
            ("kernel.inet", "UDP_MARKS_SHARED_FRAGS", NEVER),
        ),
        mutant(
            "a captured packet is not known to be cloned",
            sealed(IPPROTO_UDP, Consumer.ESP, tapped=True),
            sends_and_reads,
            SEALED,
            ("kernel.inet", "deliver", deliver_without_a_word),
            release="v6.12",
        ),
        mutant(
            "the copy that ESP decrypts is none",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_and_reads,
            SEALED,
            ("kernel.esp", "skb_cow_data", writable_as_it_is),
        ),
        mutant(
            "rxrpc does not ask for shared fragments",
            sealed(IPPROTO_UDP, Consumer.RXRPC),
            sends_and_reads,
            SEALED,
            ("kernel.rxrpc", "RXRPC_ASKS_FOR_SHARED_FRAGS", NEVER),
        ),
        mutant(
            "coalescing loses the mark",
            sealed(IPPROTO_TCP, Consumer.ESP),
            writes_then_sends,
            SEALED,
            ("kernel.inet", "COALESCING_KEEPS_MARKER", NEVER),
        ),
        mutant(
            "pedit copies what it reckoned to reach",
            sealed(IPPROTO_UDP, Consumer.PEDIT),
            sends_and_reads,
            SEALED,
            ("kernel.act_pedit", "PEDIT_COPIES_EACH_KEY", NEVER),
        ),
        mutant(
            "a packet takes no reference",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_and_reads,
            SEALED,  # the page is freed, and so poisoned
            ("kernel.inet", "get_page", nothing),
        ),
        mutant(
            "a clone takes no reference",
            sealed(IPPROTO_UDP, Consumer.ESP, tapped=True),
            sends_and_reads,
            LEAK,
            ("kernel.inet", "skb_clone", clone_without_references),
        ),
        mutant(
            "a packet that was read is not given back",
            sealed(IPPROTO_UDP, Consumer.PEDIT),
            sends_and_reads,
            LEAK,
            ("kernel.inet", "kfree_skb", nothing),
        ),
        mutant(
            "a fragment that was copied is not given back",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_and_reads,
            LEAK,
            ("kernel.skbuff", "put_page", nothing),
        ),
        mutant(
            "a packet for nobody is not given back",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_to_nobody,
            LEAK,
            ("kernel.inet", "kfree_skb", nothing),
        ),
        mutant(
            "nobody knows what a packet holds",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends,
            LEAK,
            ("kernel.inet", "InetSocket.holds", nothing_held),
        ),
        mutant(
            "a closed socket keeps what it has not read",
            sealed(IPPROTO_UDP, Consumer.ESP),
            sends_and_closes,
            LEAK,
            ("kernel.inet", "InetSocket.f_op", FORGETFUL),
            ("kernel.inet", "InetSocket.holds", nothing_held),
        ),
    ]
)
def test_mistakes_are_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
