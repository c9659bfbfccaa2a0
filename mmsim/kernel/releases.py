"""Releases of Linux, and the changes that make one answer otherwise than another.

A `Change` says in which releases the kernel behaves so; a path asks `k.release.has(CHANGE)`.  Read in the sources of
the releases named and, from 5.10 on, observed on running kernels; what was backported has a span of its own.
"""

from __future__ import annotations

import difflib
import functools

import attrs

from mmsim.errors import UserError
from mmsim.syscalls import (
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    PAGE_SIZE,
)
from mmsim.versions import version

SEALS_OF_3_17 = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


@attrs.frozen
class Change:
    """A behaviour and the releases that have it: each span is `v6.7..` or, where it ends, `v6.12..v6.16`."""

    about: str
    spans: tuple[str, ...]


def change(about: str, *spans: str) -> Change:
    """A behaviour of the releases in these spans; the end of a span is the first release without it."""
    return Change(about, spans)


COUNTS_MAYWRITE = change(
    "i_mmap_writable counts VM_SHARED and VM_MAYWRITE mappings, not all VM_SHARED ones",
    "v6.7..",
    "v6.1.149..v6.2",
    "v5.10.241..v5.11",
)
SEALED_MAPS_READ_ONLY = change(
    "a write-sealed memfd can be mapped shared and read-only",
    "v6.7..v6.12",
    "v6.12.9..",
    "v6.1.149..v6.2",
    "v5.10.241..v5.11",
)
HIGH_BITS_ARE_EINVAL = change("F_ADD_SEALS refuses arguments beyond 32 bits", "v3.14..v6.7")
HAS_FUTURE_WRITE = change("F_SEAL_FUTURE_WRITE exists", "v5.1..")
HAS_SEAL_EXEC = change("F_SEAL_EXEC, MFD_EXEC and MFD_NOEXEC_SEAL exist", "v6.3..")
WRITES_BY_FOLIO = change(
    "a write is held against F_SEAL_GROW by the largest folio there could be, not by the page", "v6.12..v6.16", "v7.2.."
)
RECHECKS_ANY_DIFFERENCE = change(
    "memfd_tag_pins tags a page whose counts differ by anything but one, not only by more",
    "v5.17..",
    "v5.10.104..v5.11",
)
OPENING_IMMUTABLE_IS_EPERM = change("opening an immutable file for writing is EPERM, not EACCES", "v4.9..")
EXT4_ENFORCES_IMMUTABLE = change("ext4 stops those who have a file open when it becomes immutable", "v5.3..")
TMPFS_HAS_FLAGS = change("tmpfs has FS_IOC_SETFLAGS", "v6.1..")


@attrs.frozen
class Release:
    """A release by name; what it does is asked change by change."""

    name: str

    def has(self, behaviour: Change) -> bool:
        """Whether this release behaves so."""
        return _within(version(self.name), behaviour)

    @property
    def known_seals(self) -> int:
        """The seals that F_ADD_SEALS accepts."""
        seals = SEALS_OF_3_17
        seals |= F_SEAL_FUTURE_WRITE if self.has(HAS_FUTURE_WRITE) else 0
        return seals | (F_SEAL_EXEC if self.has(HAS_SEAL_EXEC) else 0)

    @property
    def write_chunk(self) -> int:
        """How many bytes of a write are held against F_SEAL_GROW at once."""
        return 2 << 20 if self.has(WRITES_BY_FOLIO) else PAGE_SIZE


@functools.cache
def _within(number: tuple[int, ...], behaviour: Change) -> bool:
    spans = (span.partition("..") for span in behaviour.spans)
    return any(version(since) <= number and (not until or number < version(until)) for since, _, until in spans)


V3_17 = Release("v3.17")
NAMES = """
    v3.14 v3.15 v3.17 v4.8 v4.9 v4.18 v4.19 v4.20 v5.1 v5.3 v5.4 v5.5 v5.7 v5.8 v5.9 v5.10 v5.11 v5.12 v5.13 v5.16 v5.17
    v5.19 v6.0 v6.1 v6.2 v6.3 v6.5 v6.7 v6.12 v6.12.9 v6.12.93 v6.13 v6.16 v6.18 v6.19 v7.0 v7.2 v7.3
"""
RELEASES = tuple(Release(name) for name in NAMES.split())


def release_named(name: str) -> Release:
    """The release of that name.  Raises UserError with the nearest name."""
    for release in RELEASES:
        if release.name == name:
            return release
    names = [release.name for release in RELEASES]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    msg = f"unknown release {name!r}{hint} (known: {', '.join(names)})"
    raise UserError(msg)
