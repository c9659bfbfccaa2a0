"""Releases of Linux, and the changes that make one answer otherwise than another.

A release is `v6.12`, or a stable one of such a series, `v6.12.117`, and after dashes how it was built, where answers
depend on it and it was not built as Debian builds for x86-64: `v6.12.101-um`, `v7.3.4-noforce` (`BUILDS`).

A `Change` says in which releases the kernel behaves so; a path asks `k.release.has(CHANGE)`.  Read in the sources of
the releases named and, from 5.10 on, observed on running kernels; what was backported has a span of its own.
"""

from __future__ import annotations

import difflib
import functools
import re

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
from mmsim.versions import Version, version

SEALS_OF_3_17 = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


@attrs.frozen(eq=False)
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
HUGETLB_MEMFDS = change("memfd_create() takes MFD_HUGETLB, and such a file can be sealed", "v4.16..")
ASKS_THE_FILE_SYSTEM_FIRST = change(
    "F_ADD_SEALS refuses a file that cannot be sealed before one that is not open for writing", "v3.14..v4.16"
)
EXEC_IMPLIES_WRITE_UNASKED = change(
    "F_SEAL_EXEC sets F_SEAL_WRITE without denying writers and waiting for pins",
    "v6.3..v6.12.93",
    "v6.13..v6.18.44",
    "v6.19..v7.0",
)
FUTURE_WRITE_LETS_FORK_SHARE = change(
    "mmap() of a file sealed with F_SEAL_FUTURE_WRITE clears VM_MAYWRITE of private mappings too",
    "v5.1..v5.4.4",
)
HUGETLB_MAPS_FUTURE_WRITE = change(
    "hugetlbfs lets a file sealed with F_SEAL_FUTURE_WRITE be mapped shared and writable",
    "v5.1..v5.10.38",
    "v5.11..v5.13",
)
# 90e7e7f5ef3f, committed on 24 March 2022, in the merge window of v5.18.
MADVISE_REFUSES_HUGETLB = change("madvise(MADV_DONTNEED) of hugetlbfs is EINVAL", "v3.14..v5.18")
# 68d32527d340; v5.10 and v6.1 were asked.
HUGETLB_PUNCHES_WHOLE_PAGES = change(
    "fallocate() on hugetlbfs leaves alone what a hole has of a page, and F_SEAL_WRITE does not forbid to",
    "v3.14..v6.0",
)
# fa27759af4a6: hugetlb_no_page() looks at the size only where it has to make the page; v5.10 and v6.1 were asked.
HUGETLB_MAPS_WHOLE_PAGES = change(
    "a fault on hugetlbfs is SIGBUS in a last page that the file does not fill, though it has the page",
    "v3.14..v6.1",
)
REFUSED_BEFORE_UNMAPPING = change("mmap() looks at the seals before MAP_FIXED unmaps what was there", "v6.12.93..")
COUNTS_BEFORE_UNMAPPING = change(
    "mmap() raises i_mmap_writable, or fails to, before MAP_FIXED unmaps what was there",
    "v6.12..",
    "v6.1.119..v6.2",
    "v5.10.231..v5.11",
)
# v4.2, shmem_setattr(): `newsize <= oldsize`; posted on 16 June 2015, five days before v4.1.
SAME_SIZE_TRUNCATES = change(
    "ftruncate() of a tmpfs file to the size it has zeroes the rest of its last page", "v4.2.."
)
# eb66ae030829 of 12 October 2018, before v4.19; the stable releases are those of its announcement.
MREMAP_FLUSHES_LATE = change(
    "mremap() flushes what it moved after it dropped the page-table lock (CVE-2018-18281)",
    "v3.14..v4.9.135",
    "v4.10..v4.14.78",
    "v4.15..v4.18.16",
)
# 550a7d60bd5e, in linux-next for v5.16; read in v6.1, while v5.15 was not at hand.
MREMAP_LOOKS_FIRST = change("mremap() that shrinks is EFAULT where nothing is mapped, and unmaps nothing", "v5.16..")
MREMAP_LOOKS_BEFORE_OVERLAP = change(
    "mremap() of nothing to a place that overlaps it is EFAULT, not EINVAL", "v5.16..v6.17"
)
MREMAP_CHECKS_BEFORE_UNMAPPING = change(
    "mremap() with MREMAP_FIXED that fails leaves what is mapped at its target, and it moves several VMAs at a time",
    "v6.17..",
)
UNMAP_FLUSHES_LATE = change("munmap() flushes dirty shared entries only after i_mmap_writable fell", "v3.14..v3.15")
UDMABUF = change("/dev/udmabuf exists", "v4.20..")
UDMABUF_CHECKS_UNLOCKED = change(
    "UDMABUF_CREATE looks at the seals without the lock under which they are added", "v4.20..v6.12.7"
)
UDMABUF_HEEDS_FUTURE_WRITE = change("UDMABUF_CREATE refuses F_SEAL_FUTURE_WRITE as well", "v6.12.7..")
UDMABUF_PINS = change("udmabuf takes its pages with FOLL_PIN (memfd_pin_folios)", "v6.11..")
UDMABUF_MAPS_PFNS = change("a dma-buf made by udmabuf is mapped by page frame number", "v6.11..")
SHMEM_HAS_HUGE_PAGES = change("shared memory files can have huge pages", "v4.8..")
FOLL_PIN = change("pin_user_pages() is there, and process_vm_writev() and io_uring call it", "v5.7..")
DIRECT_IO_PINS = change("direct I/O takes its pages with FOLL_PIN, not with FOLL_GET", "v6.5..")
RDMA_PINS = change("RDMA takes its pages with FOLL_PIN", "v5.7..")
FORK_COPIES_PINNED = change("fork() copies a private page at once where it is pinned with FOLL_PIN", "v5.9..")
FORK_HOLDS_OFF_GUP_FAST = change("get_user_pages_fast() gives its pin back where fork() ran meanwhile", "v5.11..")
WRITES_BY_FOLIO = change(
    "a write is held against F_SEAL_GROW by the largest folio there could be, not by the page", "v6.12..v6.16", "v7.2.."
)
RECHECKS_ANY_DIFFERENCE = change(
    "memfd_tag_pins tags a page whose counts differ by anything but what the cache has, of a huge page too",
    "v5.17..",
    "v5.10.104..v5.11",
)
FORCED_COW_IS_REMEMBERED = change(
    "after a forced write's copy get_user_pages() sets FOLL_COW; before, it dropped FOLL_WRITE (Dirty COW)",
    "v4.9..",
    "v4.8.3..v4.9",
)
FORCED_COW_OF_HUGE_PAGES = change(
    "FOLL_COW opens a read-only pmd as well; in v4.9 a forced write to a huge page never ended",
    "v3.14..v4.9",
    "v4.10..",
)
# Repaired by a8f97366452e; not verified: which releases of the series before v4.15 have it (v4.14.4 and v4.9.67?).
TOUCH_PMD_DIRTIES = change(
    "get_user_pages() sets the dirty bit of a pmd also for those who read (CVE-2017-1000405)", "v3.14..v4.15"
)
FORCE_NEEDS_EXCLUSIVE = change(
    "a forced write goes through a read-only PTE only if its page is private and nobody else's, not if it is dirty",
    "v6.0..",
    "v5.19.6..v6.0",
)
ANON_EXCLUSIVE = change("a private page that one page table alone maps is marked PG_anon_exclusive", "v5.19..")
UFFD_SHMEM = change("userfaultfd serves missing pages of shared memory files", "v4.11..")
UFFD_MINOR_SHMEM = change("userfaultfd serves pages of shared memory files that are there but not mapped", "v5.14..")
# 29ec90660d68 and its fellows, posted on 26 November 2018 for v4.20-rc5.
UFFD_ASKS_MAYWRITE = change(
    "a mapping that may not be made writable cannot be registered with a userfaultfd", "v4.20.."
)
UFFD_PRIVATE_IS_ANON = change(
    "UFFDIO_COPY to a private mapping of a shared memory file makes a private page, not one of the file", "v4.20.."
)
UFFD_LOOKS_AT_SIZE = change("UFFDIO_COPY fails beyond the end of a shared memory file", "v4.20..")
UFFD_DIRTIES = change("userfaultfd maps every page dirty, also one that is mapped read-only", "v5.16..")
SPLICE_LEAVES_FLAGS = change(
    "a page spliced from a file goes into a pipe's slot without setting its flags (CVE-2022-0847)",
    "v4.9..v5.10.102",
    "v5.11..v5.15.25",
    "v5.16..v5.16.11",
)
MERGES_BY_FLAG = change("a flag of a pipe's buffer, not its ops, says that a write may be merged into it", "v5.8..")
REUSES_BY_MAPCOUNT = change(
    "a private page that one PTE maps is written in place, whoever else has a reference (CVE-2020-29374; v5.8 went "
    "another way about it, in get_user_pages(), and v5.9 to the rule that is modelled for both)",
    "v3.14..v5.8",
)
UNIX_SENDPAGE = change("sendfile() to an AF_UNIX socket sends the page itself, not a copy", "v4.2..")
# 72548b093ee3 (v4.14) until a664bf3d603d (v7.0) and its backports, which the reports of the CVE list.
AEAD_IN_PLACE = change(
    "AF_ALG's AEAD has pages it was sent to read in the list of those it writes (CVE-2026-31431)",
    "v4.14..v5.10.254",
    "v5.11..v5.15.204",
    "v5.16..v6.1.170",
    "v6.2..v6.6.137",
    "v6.7..v6.12.85",
    "v6.13..v6.18.22",
    "v6.19..v6.19.12",
)
# CVE-2026-43284, -43500, -46300 and -46331: where each was repaired is told by the release diffs of the stable trees
# and by Debian's changelogs (5.10.262-1, 6.1.192-2, 6.12.118-1).  Not verified: v7.0.5 for ESP (the release before that
# of rxrpc); that rxrpc went wrong after v5.3 and not in it (NVD's range); which v6.1 first had the repairs of ESP and
# rxrpc (Debian's 6.1.170-2 has them), and which v7.0 that of pedit; that v6.13 to v6.17 and v6.19 ended without any.
ESP_DECRYPTS_IN_PLACE = change("ESP decrypts a packet where it lies unless it is cloned", "v4.11..")
UDP_MARKS_SHARED_FRAGS = change(
    "a page that is spliced to a UDP socket is marked SKBFL_SHARED_FRAG, as TCP marks it",
    "v5.15.206..v5.16",
    "v6.6.138..v6.7",
    "v6.12.87..v6.13",
    "v6.18.28..v6.19",
    "v7.0.5..",
)
ESP_ASKS_FOR_SHARED_FRAGS = change(
    "ESP copies a packet that is marked SKBFL_SHARED_FRAG before it decrypts it (CVE-2026-43284)",
    *UDP_MARKS_SHARED_FRAGS.spans,
)
RXRPC_DECRYPTS_IN_PLACE = change("rxrpc decrypts a packet where it lies unless it is cloned", "v5.4..")
RXRPC_ASKS_FOR_SHARED_FRAGS = change(
    "rxrpc copies a packet that is marked SKBFL_SHARED_FRAG before it decrypts it (CVE-2026-43500)",
    "v6.12.88..v6.13",
    "v6.18.29..v6.19",
    "v7.0.6..",
)
COALESCING_KEEPS_MARKER = change(
    "a packet that gets another's fragments gets its SKBFL_SHARED_FRAG too (CVE-2026-46300)",
    "v5.10.257..v5.11",
    "v5.15.208..v5.16",
    "v6.1.174..v6.2",
    "v6.6.141..v6.7",
    "v6.12.91..v6.13",
    "v6.18.33..v6.19",
    "v7.0.10..",
)
PEDIT_COPIES_WHAT_IT_HINTED = change(
    "act_pedit copies as much of a packet as its rule was reckoned to reach before it writes to it",
    "v5.18..",
    "v5.17.9..v5.18",
    "v5.10.117..v5.11",
)
PEDIT_COPIES_EACH_KEY = change(
    "act_pedit copies what each of its keys reaches before it writes there (CVE-2026-46331)",
    "v5.10.260..v5.11",
    "v6.6.144..v6.7",
    "v6.12.94..v6.13",
    "v6.18.36..v6.19",
    "v7.1..",
)
# ffa65753c431; its last version was posted on 18 November 2021, after v5.16-rc1.
WAITS_WITHOUT_REFERENCE = change("a fault on a migration entry waits for the page without holding it", "v5.17..")
HAS_IO_URING = change("io_uring has registered buffers", "v5.1..")
# 7029acd8a950, in linux-next of 1 November 2024 for v6.13.
UNREGISTERS_AT_ONCE = change("a registered buffer is unregistered while requests into it are under way", "v6.13..")
FUSE_DIRECT_PINS = change("FUSE direct I/O takes its pages with FOLL_PIN, not with FOLL_GET", "v6.12..")
# 337684a1746f ("fs: return EPERM on immutable inode") of 2 August 2016, when v4.8 was being merged: v4.8 or v4.9, and
# no source was found that says which.
OPENING_IMMUTABLE_IS_EPERM = change("opening an immutable file for writing is EPERM, not EACCES", "v4.9..")
# "ext4: enforce the immutable flag on open files", upstream before v5.3-rc2: in the stable review of 26 July 2019.
EXT4_ENFORCES_IMMUTABLE = change("ext4 stops those who have a file open when it becomes immutable", "v5.3..")
# 8fde12ca79af, 15fab63e1e57 (v5.1-rc5); stable review of 4.14.116.
REFUSES_MANY_REFERENCES = change(
    "tee() and get_user_pages() refuse a page whose reference count is not positive (CVE-2019-11487; v4.14 has it too, "
    "and v4.9 and v4.19 from releases on that are not known here)",
    "v5.1..",
    "v4.14.116..v4.15",
)
# fe69d560b5bd and 8d0920bde5eb ("denywrite-for-5.15"); 2a010c412853 (v6.11-rc1), and its revert 3b832035387f
# (v6.13-rc1, 6.12.2, 6.11.11).
TEXT_DENIES_WRITE = change(
    "the mapping of a program's text (VM_DENYWRITE) keeps the file from being written", "v3.14..v5.15"
)
EXE_FILE_DENIES_WRITE = change(
    "mm->exe_file keeps a program's file from being opened for writing",
    "v5.15..v6.11",
    "v6.11.11..v6.12",
    "v6.12.2..",
)
EXEC_IGNORES_WRITERS = change("execve() neither asks for writers nor denies them", "v6.11..v6.11.11", "v6.12..v6.12.2")
TMPFS_HAS_FLAGS = change("tmpfs has FS_IOC_SETFLAGS", "v6.1..")


USER_MODE = "um"
NO_HUGE_PAGES = "nothp"
NO_FORCE = "noforce"
BUILDS = {
    USER_MODE: "user-mode Linux: page tables as arch/um has them, and no transparent huge pages",
    NO_HUGE_PAGES: "CONFIG_TRANSPARENT_HUGEPAGE is off",
    NO_FORCE: "CONFIG_PROC_MEM_NO_FORCE or the like: /proc/PID/mem does not override protections",
}


@attrs.frozen
class Release:
    """A release by name; what it does is asked change by change."""

    name: str

    def built(self, how: str) -> bool:
        """Whether it was built so: one of `BUILDS`."""
        return f"-{how}" in self.name

    def has(self, behaviour: Change) -> bool:
        """Whether this release behaves so."""
        return _within(self.name, behaviour)

    @property
    def known_seals(self) -> int:
        """The seals that F_ADD_SEALS accepts."""
        seals = SEALS_OF_3_17
        seals |= F_SEAL_FUTURE_WRITE if self.has(HAS_FUTURE_WRITE) else 0
        return seals | (F_SEAL_EXEC if self.has(HAS_SEAL_EXEC) else 0)

    @property
    def write_chunk(self) -> int:
        """How many bytes of a write are held against F_SEAL_GROW at once."""
        huge = not (self.built(USER_MODE) or self.built(NO_HUGE_PAGES))
        return 2 << 20 if huge and self.has(WRITES_BY_FOLIO) else PAGE_SIZE


@functools.cache
def _within(name: str, behaviour: Change) -> bool:
    number = version(name)
    spans = (span.partition("..") for span in behaviour.spans)
    return any(version(since) <= number and (not until or number < version(until)) for since, _, until in spans)


V3_17 = Release("v3.17")
NAMES = """
    v3.14 v3.15 v3.17 v4.8 v4.9 v4.10 v4.14 v4.18 v4.19 v4.20 v5.0 v5.1 v5.3 v5.4 v5.5 v5.7 v5.8 v5.9 v5.10 v5.11 v5.12
    v5.13 v5.15 v5.16 v5.17 v5.19 v6.0 v6.1 v6.2 v6.3 v6.5 v6.7 v6.11 v6.12 v6.12.9 v6.12.87 v6.12.93 v6.13 v6.16 v6.18
    v6.18.44 v6.19 v7.0 v7.2 v7.3
"""
RELEASES = tuple(Release(name) for name in NAMES.split())


LAST_OF_SERIES = {3: 19, 4: 20, 5: 19, 6: 19, 7: 3}
"""The last minor number of each major one that is known here."""
PROFILE = re.compile(rf"v(\d+)\.(\d+)(\.\d+)?(-({'|'.join(BUILDS)}))*")


def is_known(number: Version) -> bool:
    """Whether the series of a version is one that the model knows."""
    return version(NAMES.split(maxsplit=1)[0]) <= number and number[1] <= LAST_OF_SERIES.get(number[0], -1)


def release_named(name: str) -> Release:
    """The release of that name, which may be any stable one of a known series.  UserError with the nearest name."""
    if PROFILE.fullmatch(name) and is_known(version(name)):
        return Release(name)
    names = [release.name for release in RELEASES]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    msg = f"unknown release {name!r}{hint} (known: {', '.join(names)}, and the stable releases of these series)"
    raise UserError(msg)
