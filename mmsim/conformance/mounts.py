"""The file systems that a scenario names: a tmpfs, or an ext4 on a loop device of its own, for each lane.

They are mounted in the worker's own mount namespace, under its scratch directory, and stay from run to run: a run's
files bear its number, and are removed after it.  Nothing is left when the worker ends, however it does: the namespace
takes the mounts with it, and a loop device that nobody has mounted clears itself.

Not covered: disks that need stable pages (`Mount.checksums`).
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs

from mmsim.conformance import loop, native
from mmsim.syscalls import FS_IMMUTABLE_FL

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mmsim.syscalls import Mount

DISK_BYTES: Final = 32 << 20
LANES_WITH_DISKS: Final = 4
"""How many lanes have disks of their own: a machine has few loop devices."""
_OPTIONS: Final = native.MS_NOSUID | native.MS_NODEV
_MKFS_OPTIONS: Final = ("-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")


@attrs.frozen
class Mounted:
    """One mounted file system.  Without an image it is a tmpfs."""

    directory: Path
    image: Path | None = None

    def clear(self) -> None:
        """Remove every file, for the next run.  OSError."""
        if os.statvfs(self.directory).f_flag & os.ST_RDONLY:
            native.mount("", str(self.directory), "", native.MS_REMOUNT | _OPTIONS, "")
        for entry in self.directory.iterdir():
            if entry.is_file():
                _make_mutable(entry)
                entry.unlink()

    def close(self) -> None:
        """Unmount."""
        with suppress(OSError):
            native.umount(str(self.directory))
        with suppress(OSError):
            self.directory.rmdir()

    def disk_contents(self, name: str, apart: str) -> bytes:
        """What a file would hold if the disk were mounted afresh; `apart` tells this copy from others made meanwhile.

        A file that is not on the disk yet is empty.  Opens files: to be called where no scenario counts descriptors.
        """
        assert self.image is not None
        copy = self.image.with_suffix(f".{apart}")
        again = self.directory.with_name(copy.name + ".mounted")
        try:
            _copy_sparse(self.image, copy)
            again.mkdir()
            _mount_image(copy, again)
            try:
                return (again / name).read_bytes()
            except FileNotFoundError:
                return b""
            finally:
                native.umount(str(again))
        finally:
            with suppress(OSError):
                again.rmdir()
            copy.unlink(missing_ok=True)


def mount_all(mounts: Collection[Mount], scratch: Path, lane: int) -> dict[str, Mounted]:
    """Mount what a scenario names, for one lane.  `native.Impossible` says why not."""
    made: dict[str, Mounted] = {}
    for number, wanted in enumerate(mounts):
        directory = scratch / f"mount{lane}.{number}"
        directory.mkdir()
        image = None if wanted.kind == "tmpfs" else scratch / f"disk{lane}.{number}"
        try:
            if image is None:
                native.mount("mmsim", str(directory), "tmpfs", _OPTIONS, "size=64m")
            else:
                _make_image(image)
                _mount_image(image, directory)
        except OSError as error:
            msg = f"mounting a file system of kind {wanted.kind} is refused here ({os.strerror(error.errno or 0)})"
            raise native.Impossible(msg) from None
        made[wanted.name] = Mounted(directory, image)
    return made


def _make_image(image: Path) -> None:
    mkfs = shutil.which("mkfs.ext4") or shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
    if mkfs is None:
        msg = "an ext4 on a loop device needs mkfs.ext4, which is not installed here (Debian: e2fsprogs)"
        raise native.Impossible(msg)
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    made = subprocess.run(  # noqa: S603  (mkfs.ext4 of the machine, on a file of ours)
        [mkfs, *_MKFS_OPTIONS, str(image)], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if made.returncode:
        lines = made.stderr.strip().splitlines() or [f"exit status {made.returncode}"]
        msg = f"mkfs.ext4 makes no file system here ({lines[-1]})"
        raise native.Impossible(msg)


def _mount_image(image: Path, directory: Path) -> None:
    with image.open("r+b") as file:
        device, path = loop.attach(file.fileno(), os.O_RDWR)
    try:
        native.mount(path, str(directory), "ext4", _OPTIONS, "")
    finally:
        os.close(device)  # from here on the mount alone keeps it


def _copy_sparse(source: Path, target: Path) -> None:
    """Copy what there is of a file with holes."""
    with source.open("rb", buffering=0) as old, target.open("wb", buffering=0) as new:
        end = os.fstat(old.fileno()).st_size
        new.truncate(end)
        at = 0
        while at < end:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            hole = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                at += os.pwrite(new.fileno(), os.pread(old.fileno(), min(hole - at, 1 << 20), at), at)


def _make_mutable(path: Path) -> None:
    with path.open("rb") as file:
        answer, left = native.ioctl(file.fileno(), native.FS_IOC_GETFLAGS, bytes(8))
        flags = struct.unpack("=Q", left)[0]
        if answer >= 0 and flags & FS_IMMUTABLE_FL:
            native.ioctl(file.fileno(), native.FS_IOC_SETFLAGS, struct.pack("=Q", flags & ~FS_IMMUTABLE_FL))
