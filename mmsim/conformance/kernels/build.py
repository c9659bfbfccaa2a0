"""The executor, made from its source by the C compiler of this machine, and the archive it boots from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from mmsim.conformance.kernels import cpio, wire
from mmsim.errors import UserError

SOURCE: Final = Path(__file__).with_name("executor.c")
COMPILERS: Final = ("cc", "gcc", "clang")
FLAGS: Final = ("-std=gnu11", "-O2", "-static")
CONSOLE, SERIAL = (5, 1), (4, 64)
PATIENCE_S: Final = 120


def compiler() -> str:
    """The compiler's path.  UserError where there is none."""
    found = next(filter(None, map(shutil.which, COMPILERS)), None)
    if found is None:
        msg = (
            "other kernels need a C compiler, for what runs in them is C: install gcc (none of cc, gcc, clang is here)"
        )
        raise UserError(msg)
    return found


def executor(scratch: Path) -> Path:
    """The executor, built in `scratch`.  UserError: no compiler, or no C library to link statically."""
    command = compiler()
    scratch.joinpath("protocol.h").write_text(wire.header())
    built = scratch / "executor"
    done = subprocess.run(  # noqa: S603  (the compiler of this machine, and a source of this package)
        [command, *FLAGS, "-I", str(scratch), "-o", str(built), str(SOURCE)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=PATIENCE_S,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line]
        why = said[0].strip() if said else f"exit status {done.returncode}"
        msg = (
            f"other kernels need a static executor, and {command} cannot make it (is a static C library there?): {why}"
        )
        raise UserError(msg)
    return built


def initramfs(scratch: Path) -> Path:
    """The archive with the executor as /init, and the two devices that it needs before it can mount anything."""
    init = executor(scratch).read_bytes()
    file = scratch / "initramfs"
    entries = (
        cpio.Entry("dev", directory=True),
        cpio.Entry("dev/console", permissions=0o600, device=CONSOLE),
        cpio.Entry("dev/ttyS0", permissions=0o600, device=SERIAL),
        cpio.Entry("init", init),
    )
    file.write_bytes(cpio.archive(entries))
    return file
