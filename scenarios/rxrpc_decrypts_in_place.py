"""A page of a sealed memfd is spliced into a packet, which rxrpc decrypts where it lies: CVE-2026-43500.

As `esp_decrypts_in_place`, and the same mistake made once more: from v5.4 on rxrpc copies a packet only if it is
cloned.  That UDP marks the page, as it does since v6.12.87, is no help against a consumer that does not ask.

    user    splices the sealed memfd into a pipe and on into a UDP socket, reads what arrives, then the file
"""

from __future__ import annotations

import attrs

from mmsim.scenario import Scenario
from mmsim.syscalls import F_SEAL_WRITE, IPPROTO_UDP, MFD_ALLOW_SEALING, PAGE_SIZE, Consumer, Syscalls, fill
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
    return Shared(fd, *await sys.pipe(), *await sys.inet_socketpair(IPPROTO_UDP, Consumer.RXRPC))


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
    setup=setup,
    threads=(user,),
    always=(the_file_keeps_its_content,),
    sometimes=(the_packet_is_decrypted,),
    release="v6.12.87",
    history={
        "v4.14": HOLDS,
        "v5.4": VIOLATED,
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
