"""Pipes, sockets, and what moves pages through them.

Not modelled: O_NONBLOCK and SPLICE_F_NONBLOCK, because a call that gives up holds nothing.
"""

from __future__ import annotations

from mmsim.kernel.af_unix import unix_socketpair
from mmsim.kernel.algif_aead import af_alg_accept
from mmsim.kernel.crowd import tee_many
from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.file_table import alloc_file
from mmsim.kernel.inet import inet_socketpair
from mmsim.kernel.pipe import create_pipe_files
from mmsim.kernel.splice import do_sendfile, do_splice, do_tee, vmsplice_to_pipe
from mmsim.syscalls import Consumer


class PipeCalls(Descriptors):
    """pipe(2), splice(2) and their kin."""

    async def pipe(self) -> tuple[int, int]:
        read, write = await create_pipe_files(self.k)
        return await self._install(await alloc_file(read)), await self._install(await alloc_file(write))

    async def socketpair(self) -> tuple[int, int]:
        first, second = await unix_socketpair(self.k)
        return await self._install(await alloc_file(first)), await self._install(await alloc_file(second))

    async def inet_socketpair(self, protocol: int, consumer: Consumer, *, tapped: bool = False) -> tuple[int, int]:
        first, second = await inet_socketpair(self.k, protocol, consumer, tapped=tapped)
        return await self._install(await alloc_file(first)), await self._install(await alloc_file(second))

    async def af_alg(self) -> int:
        return await self._install(await alloc_file(await af_alg_accept(self.k)))

    async def splice(self, fd_in: int, offset: int | None, fd_out: int, length: int) -> int:
        return await self._on_both(fd_in, fd_out, do_splice, offset, length)

    async def sendfile(self, fd_out: int, fd_in: int, offset: int | None, length: int) -> int:
        return await self._on_both(fd_in, fd_out, do_sendfile, offset, length)

    async def tee(self, fd_in: int, fd_out: int, length: int) -> int:
        return await self._on_both(fd_in, fd_out, do_tee, length)

    async def tee_many(self, fd_in: int, count: int) -> int:
        return await self._on(fd_in, tee_many, count)

    async def vmsplice(self, fd: int, address: int, length: int, flags: int = 0) -> int:
        return await self._on(fd, vmsplice_to_pipe, address, length, flags)
