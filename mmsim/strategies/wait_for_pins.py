"""What went upstream in v3.17 ("shm: wait for pins to be released when sealing"), in use to this day.

Deny writable mappings, so that no new writer can appear; then look at every cached page for references beyond the
cache's and the page tables'; tag those that have some and look at them again after growing sleeps, five times, about
150 ms in all; then give up with EBUSY.  Nothing is added to get_user_pages(), to munmap() or to struct page.

It takes every reference for a writer, so a device that only reads, or a reader in the middle of a copy, can refuse the
seal or delay it.  And it tells references from mappings by loading two counts one after the other, without a lock: a
mapping that comes or goes between the two loads can hide one reference.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.memfd import memfd_wait_for_pins
from mmsim.kernel.strategy import Budget, linux

wait_for_pins = attrs.evolve(
    linux,
    name="wait_for_pins",
    doc=__doc__ or "",
    exclude_pins=memfd_wait_for_pins,
    budget=Budget(who_waits="F_ADD_SEALS, up to 150 ms, with i_mutex held"),
)
