"""A booted kernel that performs programs: asked, then listened to, and booted again where it hangs or dies.

A batch means the same whoever performs it, so what a guest left undone is asked of the next.  Nothing is left behind:
the guest lives in a session of its own that is killed as a whole, its files lie in a scratch directory, and should this
process be killed, a watcher that has been waiting for that kills the one and removes the other.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import attrs

from mmsim.conformance import native
from mmsim.conformance.kernels import build, wire
from mmsim.conformance.kernels.image import Image
from mmsim.conformance.profile import profile
from mmsim.conformance.sequential.program import Answer, Batch, Given, Limits, Program
from mmsim.errors import UserError
from mmsim.kernel.releases import Release

BOOTS_S: Final = 60.0
"""How long a kernel may take to reach the executor; on a machine that is not busy it takes one to four seconds."""
ANSWERS_S: Final = 60.0
"""How long it may take over one batch."""
TRIES: Final = 3
CHUNK: Final = 1 << 16
WATCHER: Final = 'read _; kill -s KILL -- "-$1"; rm -rf -- "$2"'
"""A shell waits for a line that never comes: its input ends when the session does, however that happens."""


@attrs.frozen
class Hello:
    """What a guest says of itself."""

    release: str
    """`uname -r`."""
    version: str
    """`uname -v`, in which Debian names the stable release."""
    user_mode: bool
    huge_pages: bool
    """Whether it was built with transparent huge pages."""
    force: bool
    """Whether a write to /proc/PID/mem overrides protections."""
    sockets: bool
    """Whether it has AF_UNIX."""
    pool: bool
    """Whether it has huge pages for MFD_HUGETLB."""
    shmem_enabled: str
    """What /sys/kernel/mm/transparent_hugepage/shmem_enabled has, if it is there."""


@attrs.frozen
class Lost(Exception):
    """The guest hangs or is gone."""

    why: str


class Guest:
    """A context: it boots on entry."""

    def __init__(self, image: Image, *, boots_s: float = BOOTS_S, answers_s: float = ANSWERS_S) -> None:
        self._image = image
        self._patience = boots_s, answers_s
        self._scratch = tempfile.TemporaryDirectory(prefix="mmsim-")
        self._folder = Path(self._scratch.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._heard = bytearray()
        self._shared: mmap.mmap | None = None
        self._programs: list[Program] = []
        self.hello: Hello
        self.linux: str
        self.profile: Release
        self.limits: Limits
        self.boots = 0
        """How often it was booted."""

    def __enter__(self) -> Self:
        try:
            self._initramfs = build.initramfs(self._folder)
            self._boot()
            hello = self.hello
            self.linux = hello.release
            self.profile = profile(
                hello.release, hello.version, user_mode=hello.user_mode, huge=hello.huge_pages, force=hello.force
            )
            maybe_huge = bool(hello.shmem_enabled) and "[never]" not in hello.shmem_enabled
            self.limits = Limits(
                in_page=maybe_huge, readable=hello.user_mode, no_sockets=not hello.sockets, huge_pages=hello.pool
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self._shared is not None:
            self._shared.close()
        self._scratch.cleanup()

    def ask(self, asked: Batch | Given) -> None:
        """Hand it programs."""
        self._programs = asked.programs()
        with suppress(Lost):  # what comes next is to hear the answers, and that boots it again
            self._send()

    def answers(self) -> tuple[list[tuple[Answer, ...]], tuple[float, float]]:
        """What it answered to the programs, and its seconds for those of one process and the others.  UserError."""
        for left in reversed(range(TRIES)):
            try:
                return wire.decoded(self._frame(wire.ANSWERS, self._patience[1]), self._programs)
            except (Lost, wire.Garbled) as error:
                if not left:
                    msg = f"{self._image.path} does not get through the programs: {error.why}{self._last_words()}"
                    raise UserError(msg) from None
                self._boot()
                with suppress(Lost):
                    self._send()
        raise AssertionError

    def _boot(self) -> None:
        for left in reversed(range(TRIES)):
            self._end()
            self._start()
            try:
                self.hello = _hello(self._frame(wire.HELLO, self._patience[0]))
            except Lost as lost:
                if not left:
                    msg = f"{self._image.path} does not boot: {lost.why}{self._last_words()}"
                    raise UserError(msg) from None
            else:
                return

    def _start(self) -> None:
        self.boots += 1
        self._heard.clear()
        if not self._image.user_mode and self._shared is None:
            with (self._folder / "shared").open("w+b") as file:
                file.truncate(2 * wire.SHARED_HALF)
                self._shared = mmap.mmap(file.fileno(), 0)
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        command = self._image.command(self._initramfs, self._folder, theirs.fileno())
        try:
            with theirs, (self._folder / "errors").open("wb") as errors:
                self._process = subprocess.Popen(  # noqa: S603  (the image that the user named, or qemu)
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    env={**os.environ, **self._image.environment(self._folder)},
                    cwd=self._folder,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    preexec_fn=_die_with_parent,  # noqa: PLW1509  (one call of prctl(2), and no thread is about)
                )
            self._watcher = subprocess.Popen(  # noqa: S603  (the text is WATCHER)
                ["/bin/sh", "-c", WATCHER, "sh", str(self._process.pid), str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            msg = f"{self._image.path} does not start ({error.strerror})"
            raise UserError(msg) from None

    def _end(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._watcher is not None:
            self._watcher.kill()  # before its input ends, for by now others may have those numbers
            self._watcher.wait()
            assert self._watcher.stdin is not None
            self._watcher.stdin.close()
            self._watcher = None

    def _send(self) -> None:
        programs = wire.encoded(self._programs)
        length = wire.LENGTH.pack(len(programs))
        if self._shared is None:
            self._write(memoryview(length + programs))
        elif len(programs) > wire.SHARED_HALF:
            raise UserError("these are more programs than a guest of qemu takes at once; ask for fewer")
        else:
            self._shared[: len(programs)] = programs
            self._write(memoryview(length))

    def _write(self, data: memoryview) -> None:
        """All of it.  A guest that asks for more, or ends, is heard meanwhile."""
        line = self._line
        assert line is not None
        until = time.monotonic() + self._patience[1]
        credit = wire.CREDIT if self.hello.user_mode else len(data)
        while data:
            writing = [line] if credit else []
            readable, writable, _ = select.select([line], writing, [], max(0.0, until - time.monotonic()))
            if not readable and not writable:
                raise Lost("it takes no programs")
            if readable:
                self._hear()
                credit += wire.CREDIT * self._heard.count(wire.MORE)
                self._heard.clear()
            if writable:
                try:
                    sent = line.send(data[:credit])
                except OSError:
                    raise Lost("it ended") from None
                data, credit = data[sent:], credit - sent

    def _hear(self) -> None:
        assert self._line is not None
        try:
            more = self._line.recv(CHUNK)
        except OSError:
            more = b""
        if not more:
            raise Lost("it ended")
        self._heard += more

    def _frame(self, magic: bytes, patience_s: float) -> bytes:
        """The next frame of that kind; what comes before its magic is nobody's."""
        until = time.monotonic() + patience_s
        line = self._line
        assert line is not None
        while True:
            at = self._heard.find(magic)
            start = at + len(magic) + wire.LENGTH.size
            if at >= 0 and len(self._heard) >= start:
                (length,) = wire.LENGTH.unpack_from(self._heard, at + len(magic))
                if self._shared is not None:
                    del self._heard[:start]
                    return self._shared[wire.SHARED_HALF : wire.SHARED_HALF + length]
                if len(self._heard) >= start + length:
                    frame = bytes(self._heard[start : start + length])
                    del self._heard[: start + length]
                    return frame
            if not select.select([line], [], [], max(0.0, until - time.monotonic()))[0]:
                msg = f"nothing was heard of it for {patience_s:g} s"
                raise Lost(msg)
            self._hear()

    def _last_words(self) -> str:
        said = b"".join(file.read_bytes() for name in ("errors", "console") if (file := self._folder / name).exists())
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        for sign in ("mmsim executor:", "Kernel panic", "not found", "error"):
            telling = [line for line in lines if sign in line]
            if telling:
                return f" ({telling[-1][:200]}){self._image.advice(telling[-1])}"
        return f" ({lines[-1][:200]})" if lines else ""


def _die_with_parent() -> None:
    native.prctl(native.PR_SET_PDEATHSIG, signal.SIGKILL)


def _hello(frame: bytes) -> Hello:
    release, version, *told, enabled = frame.decode(errors="replace").split("\n", 7)
    user_mode, huge, force, sockets, pool = (each == "1" for each in told)
    return Hello(release, version, user_mode, huge, force, sockets, pool, enabled.strip())
