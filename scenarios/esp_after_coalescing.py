"""A page of a sealed memfd is spliced into a stream, and the mark that it is somebody else's gets lost: CVE-2026-46300.

As `esp_decrypts_in_place`, but in TCP, which always marked such a page, and under v6.12.87, where ESP asks for the
mark.  TCP appends a packet to one that nobody has read yet, and up to v6.12.90 skb_try_coalesce() moved the page and
left the mark behind.  A receiver that is quick gets two packets, and nothing is lost.

    sender      writes to a TCP socket, then splices the sealed memfd into a pipe and on into the socket
    receiver    reads what arrives, then the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, IPPROTO_TCP, MFD_ALLOW_SEALING, PAGE_SIZE, Consumer, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS, VIOLATED


@attrs.frozen
class Shared:
    fd: int
    read: int
    write: int
    near: int
    far: int


@attrs.frozen
class Seen:
    packet: bytes | int
    content: bytes | int


async def setup(sys: Syscalls) -> Shared:
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.add_seals(fd, F_SEAL_WRITE)
    return Shared(fd, *await sys.pipe(), *await sys.inet_socketpair(IPPROTO_TCP, Consumer.ESP))


async def sender(sys: Syscalls, shared: Shared) -> int:
    await sys.write(shared.near, b"mine")
    await sys.splice(shared.fd, 0, shared.write, 8)
    return await sys.splice(shared.read, None, shared.near, 8)


async def receiver(sys: Syscalls, shared: Shared) -> Seen:
    packet = await sys.read(shared.far, 12)
    return Seen(packet, await sys.pread(shared.fd, PAGE_SIZE))


def the_file_keeps_its_content(receiver: Seen) -> bool:
    return receiver.content == fill(b"orig")


def deciphered(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def the_packets_are_one(receiver: Seen) -> bool:
    return receiver.packet == deciphered(b"mineorigorig")


def the_packets_are_two(receiver: Seen) -> bool:
    return receiver.packet == deciphered(b"mine")


scenario = Scenario(
    question="history",
    setup=setup,
    threads=(sender, receiver),
    always=(the_file_keeps_its_content,),
    sometimes=(the_packets_are_one, the_packets_are_two),
    release="v6.12.87",
    history={
        "v5.7": VIOLATED,
        "v6.12.87": VIOLATED,
        "v6.12.93": HOLDS,
        "v6.13": VIOLATED,
        "v6.18.44": HOLDS,
        "v6.19": VIOLATED,
        "v7.2": HOLDS,
    },
    model_only=True,
    expect={OTHERS: VIOLATED},  # nobody pinned it to write
)
