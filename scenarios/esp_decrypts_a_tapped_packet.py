"""A page of a sealed memfd is spliced into a packet that somebody captures before IPsec decrypts it.

As `esp_decrypts_in_place`, but a packet socket has a clone of the packet.  That is what ESP always asked for, so it
decrypts a copy: whoever else has the *buffer* was never forgotten, only whoever else has its pages.

    user    splices the sealed memfd into a pipe and on into a UDP socket, reads what arrives, then the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, IPPROTO_UDP, MFD_ALLOW_SEALING, PAGE_SIZE, Consumer, Syscalls, fill
from mmsim.verdict import HOLDS, OTHERS


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
    return Shared(fd, *await sys.pipe(), *await sys.inet_socketpair(IPPROTO_UDP, Consumer.ESP, tapped=True))


async def user(sys: Syscalls, shared: Shared) -> Seen:
    await sys.splice(shared.fd, 0, shared.write, 8)
    await sys.splice(shared.read, None, shared.near, 8)
    packet = await sys.read(shared.far, 8)
    return Seen(packet, await sys.pread(shared.fd, PAGE_SIZE))


def the_file_keeps_its_content(user: Seen) -> bool:
    return user.content == fill(b"orig")


def the_packet_is_decrypted(user: Seen) -> bool:
    return user.packet == bytes(byte ^ 0xFF for byte in b"origorig")


scenario = Scenario(
    question="history",
    sibling="esp_decrypts_in_place",
    setup=setup,
    threads=(user,),
    always=(the_file_keeps_its_content,),
    sometimes=(the_packet_is_decrypted,),
    release="v6.12",
    model_only=True,
    expect={OTHERS: HOLDS},
)
