"""Releases of Linux, as the answers that differ between them.

Read in the sources of the releases named and, from 5.10 on, observed on running kernels.
"""

from __future__ import annotations

import difflib

import attrs

from mmsim.errors import UserError
from mmsim.syscalls import F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, PAGE_SIZE

SEALS_OF_3_17 = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


@attrs.frozen
class Release:
    """A profile: what this release answers where releases differ."""

    name: str
    counts_maywrite: bool = False
    """i_mmap_writable counts VM_SHARED and VM_MAYWRITE VMAs (v6.7 and later), not all VM_SHARED ones."""
    sealed_maps_read_only: bool = False
    """A write-sealed memfd can be mapped shared and read-only (v6.7 and later, but for 6.12.0 to 6.12.8)."""
    high_bits_are_einval: bool = True
    """F_ADD_SEALS refuses arguments beyond 32 bits (until 6.3)."""
    known_seals: int = SEALS_OF_3_17
    write_chunk: int = PAGE_SIZE
    """How much of a write is held against F_SEAL_GROW at once: a page, or on 6.12 the largest folio there could be.

    Later releases go by a page again unless shmem_enabled allows huge pages, which by default it does not.
    """
    rechecks_any_difference: bool = False
    """memfd_tag_pins tags a page whose counts differ by anything but one (v5.17 and later), not only by more."""


V3_17 = Release("v3.17")
RELEASES = (
    V3_17,
    Release("v4.18"),
    Release("v5.10"),
    Release("v6.1", rechecks_any_difference=True),
    Release(
        "v6.7",
        counts_maywrite=True,
        sealed_maps_read_only=True,
        high_bits_are_einval=False,
        rechecks_any_difference=True,
    ),
    Release(
        "v6.12",
        counts_maywrite=True,
        sealed_maps_read_only=True,
        high_bits_are_einval=False,
        write_chunk=2 << 20,
        rechecks_any_difference=True,
    ),
    Release(
        "v6.18",
        counts_maywrite=True,
        sealed_maps_read_only=True,
        high_bits_are_einval=False,
        rechecks_any_difference=True,
    ),
)


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
