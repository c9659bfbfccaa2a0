"""An archive for the kernel to unpack as its first root file system.

Follows Documentation/driver-api/early-userspace/buffer-format.rst: the `newc` form of cpio, which is the one that
init/initramfs.c reads.  Not covered: hard links, checksums, and files that do not fit into 4 GiB.
"""

from __future__ import annotations

import stat

import attrs

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
ALIGNMENT = 4


@attrs.frozen
class Entry:
    """A file, or with `device` a character device: its path without a leading slash, its mode and what it holds."""

    path: str
    content: bytes = b""
    permissions: int = 0o755
    device: tuple[int, int] | None = None
    """(major, minor)."""
    directory: bool = False

    @property
    def mode(self) -> int:
        """The type and the permissions, as in st_mode."""
        kind = stat.S_IFCHR if self.device else stat.S_IFDIR if self.directory else stat.S_IFREG
        return kind | self.permissions


def archive(entries: tuple[Entry, ...]) -> bytes:
    """The entries in this order: a directory has to come before what is in it."""
    trailer = _header(TRAILER, inode=0, mode=0, size=0, device=(0, 0))
    return b"".join([*(_entry(number, each) for number, each in enumerate(entries, 1)), trailer])


def _entry(inode: int, entry: Entry) -> bytes:
    head = _header(entry.path, inode, entry.mode, len(entry.content), entry.device or (0, 0))
    return head + _padded(entry.content)


def _header(path: str, inode: int, mode: int, size: int, device: tuple[int, int]) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device's file system (2), device (2), length of the name, checksum
    fields = (inode, mode, 0, 0, 1, 0, size, 0, 0, *device, len(name), 0)
    return _padded(MAGIC + b"".join(b"%08X" % field for field in fields) + name)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
