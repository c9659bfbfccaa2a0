"""Programs of system calls, one after the other, drawn at random.

A program is a tuple of `Call`s with plain numbers in them: a descriptor is the number that the kernel will give (the
lowest free one), an address lies in an arena that nothing else uses, so a program means the same to Linux and to the
model, and any part of a program is a program.  What is written or stored is one letter, over and over.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from typing import Any, Final

import attrs

from mmsim.conformance.real import ARENA, FIRST
from mmsim.syscalls import (
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
    MADV_DONTNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    MFD_EXEC,
    MFD_HUGETLB,
    MFD_NOEXEC_SEAL,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    PAGE_SIZE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)

ARENA_PAGES: Final = 20
"""Few enough for mappings to meet each other."""
ARENA_LENGTH: Final = (ARENA_PAGES + 4) * PAGE_SIZE
"""With what a mapping that begins on the last of them reaches beyond."""
PROCESSES: Final = 3
"""How many processes a program can have, the first among them."""
LONGEST: Final = 30

NOT_ASKED: Final = (
    "mremap() to an address of the kernel's choice, which is the machine's own affair: it stays in place or is told",
    (
        "mremap() that changes the size of several pages to that of several others, for whether they are in one VMA or "
        "in two that would have to be merged, which the model never does, decides whether it is EFAULT"
    ),
    "PROT_EXEC, for no instruction is fetched here",
    "what wait() and signals tell of a process that exits",
)

WITHIN_PAGES: Final = (
    "a write that crosses a page's edge, for this machine may give memfds huge pages, which changes how much of a "
    "write F_SEAL_GROW judges at once"
)
NO_SOCKETS: Final = "descriptors passed over a socket, for this kernel was built without AF_UNIX"
SMALL_PAGES: Final = "MFD_HUGETLB, for a machine may have no huge pages to give"
WHOLE_PAGES: Final = (
    "with MFD_HUGETLB: parts of a huge page in munmap(), mprotect(), mremap() and madvise(); what else than "
    "FALLOC_FL_PUNCH_HOLE keeps the size in fallocate(), for since v6.1 pages beyond the end can be touched there"
)
READABLE: Final = (
    "mappings of PROT_WRITE alone, for whether user-mode Linux lets them be read hangs on what is mapped on its host, "
    "which fork(), mremap() and fault-around decide"
)

Arguments = tuple[Any, ...]
"""Numbers, and names of files."""


@attrs.frozen
class Limits:
    """What programs do not ask beyond `NOT_ASKED`, for the sake of the kernel that is to perform them."""

    in_page: bool = False
    """No write crosses a page's edge."""
    readable: bool = False
    """What may be written may be read."""
    no_sockets: bool = False
    """No descriptor is passed to another process."""
    huge_pages: bool = False
    """A share of the programs has files of huge pages, and no others."""

    @property
    def not_asked(self) -> tuple[str, ...]:
        """All that programs do not ask, as sentences."""
        limits = (
            (WITHIN_PAGES, self.in_page),
            (READABLE, self.readable),
            (NO_SOCKETS, self.no_sockets),
            (SMALL_PAGES, not self.huge_pages),
            (WHOLE_PAGES, self.huge_pages),
        )
        return (*NOT_ASKED, *(sentence for sentence, applies in limits if applies))


EVERYTHING: Final = Limits()


@attrs.frozen
class Call:
    """One system call (or load, or store) of one process; process 0 is there from the start.

    `pass_fd`, of a descriptor and a process, is two: the one sends it over a socket, the other receives it there.
    """

    process: int
    verb: str
    arguments: Arguments = ()

    @property
    def takes_part(self) -> tuple[int, ...]:
        """The processes without which the call is not made."""
        return (self.process, self.arguments[1]) if self.verb == "pass_fd" else (self.process,)


Program = tuple[Call, ...]
OPENING: Final = frozenset({"memfd_create", "open", "reopen", "dup", "pass_fd"})
ALONE: Final = frozenset({"fork", "exit", "pass_fd"})
"""Calls that a process is told by themselves, for they concern others as well."""
LARGEST: Final = 8 * PAGE_SIZE
"""As large as a file can become."""
Answer = int | bytes | str | None
"""What a call returned: a number, the bytes read, or the name of a signal; None of a process that is not there."""

MFD_FLAGS: Final = (
    MFD_ALLOW_SEALING,
    MFD_ALLOW_SEALING,
    MFD_ALLOW_SEALING,
    MFD_ALLOW_SEALING | MFD_CLOEXEC,
    MFD_ALLOW_SEALING | MFD_EXEC,
    0,
    MFD_CLOEXEC,
    MFD_NOEXEC_SEAL,
    MFD_NOEXEC_SEAL | MFD_ALLOW_SEALING,
    MFD_EXEC,
    MFD_EXEC | MFD_NOEXEC_SEAL,
    0x20,
)
SEALS: Final = (
    F_SEAL_WRITE,
    F_SEAL_WRITE,
    F_SEAL_WRITE,
    F_SEAL_SHRINK,
    F_SEAL_GROW,
    F_SEAL_SHRINK | F_SEAL_GROW,
    F_SEAL_WRITE | F_SEAL_SEAL,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_FUTURE_WRITE | F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_EXEC,
    F_SEAL_EXEC | F_SEAL_WRITE,
    0,
    0x40,
    1 << 32 | F_SEAL_SHRINK,
)
SIZES: Final = (0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE, PAGE_SIZE + 1, 6000, 2 * PAGE_SIZE, 3 * PAGE_SIZE)
OFFSETS: Final = (0, 0, 1, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 6000, 2 * PAGE_SIZE - 2, 2 * PAGE_SIZE)
LENGTHS: Final = (1, 4, 100, PAGE_SIZE, PAGE_SIZE + 4, 2 * PAGE_SIZE, 0)
FALLOC_MODES: Final = (
    0,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_ZERO_RANGE,
)
PROTS: Final = (
    PROT_READ,
    PROT_READ | PROT_WRITE,
    PROT_READ | PROT_WRITE,
    PROT_READ | PROT_WRITE,
    PROT_WRITE,
    PROT_NONE,
)
OPEN_FLAGS: Final = (O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR | O_TRUNC, O_RDONLY | O_TRUNC)
MODES: Final = (0o777, 0o666, 0o755, 0o600)
FILES: Final = ("one", "two")
LETTERS: Final = "ABCDEFGH"
IN_PAGE: Final = (0, 0, 8, 100, PAGE_SIZE - 4)
TOUCHED: Final = (1, 4)
MAP_LENGTHS: Final = (PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE, 3 * PAGE_SIZE, 100)

WEIGHTS: Final = {
    "memfd_create": 3,
    "open": 2,
    "reopen": 3,
    "dup": 2,
    "close": 3,
    "ftruncate": 6,
    "fallocate": 6,
    "fchmod": 2,
    "read": 2,
    "write": 3,
    "pread": 6,
    "pwrite": 8,
    "mmap": 12,
    "munmap": 5,
    "mprotect": 6,
    "mremap": 5,
    "madvise": 2,
    "load": 12,
    "store": 12,
    "add_seals": 8,
    "get_seals": 4,
}
FORKING: Final = {**WEIGHTS, "fork": 6, "exit": 2, "pass_fd": 8}


BEGINNING: Final[tuple[str, ...]] = ("memfd_create", "pwrite", "mmap")
FORKING_BEGINNING: Final = (*BEGINNING, "store", "fork", "pass_fd", "write", "store", "load")
ACCEPTED: Final = 8
"""How many of `MFD_FLAGS`, from the first on, every kernel accepts or only old ones refuse."""
INVALID: Final = (MFD_EXEC | MFD_NOEXEC_SEAL, 0x20)
FORKING_SHARE: Final = 0.1
"""How many of the programs that may fork do: a process costs as much as a hundred programs without."""
HUGE_SHARE: Final = 10
"""One program in so many has files of huge pages, where the kernel has such pages."""
SELDOM: Final = 0.05


def _sums(weights: dict[str, int]) -> tuple[int, ...]:
    return tuple(itertools.accumulate(weights.values()))


CUMULATED, FORKING_CUMULATED = _sums(WEIGHTS), _sums(FORKING)


class _Draw:
    """One program in the making; it keeps a rough idea of what is open and mapped, and need not be right."""

    def __init__(self, draw: random.Random, limits: Limits, size: int) -> None:
        self._random = draw.random
        self._in_page = limits.in_page
        self._size = size
        self._prots = tuple(prot | PROT_READ if prot else prot for prot in PROTS) if limits.readable else PROTS
        self._open: list[int] = []
        self._mapped: list[int] = []
        self._letters = 0
        self.processes = 1

    def one(self, values: Sequence[int]) -> int:
        """One of them."""
        return values[int(self._random() * len(values))]

    def below(self, bound: int) -> int:
        """0 .. bound - 1."""
        return int(self._random() * bound)

    def fd(self) -> int:
        """Mostly an open one."""
        if not self._open or self._random() < SELDOM:
            return FIRST + self.below(len(self._open) + 1)
        return self.one(self._open)

    def opened(self) -> None:
        """The lowest free descriptor is not free any more."""
        self._open.append(next(fd for fd in itertools.count(FIRST) if fd not in self._open))

    def letter(self) -> int:
        """Another each time: whose write it was can be seen."""
        self._letters += 1
        return ord(LETTERS[self._letters % len(LETTERS)])

    def page(self) -> int:
        """The address of a page that may well be mapped."""
        if not self._mapped or self._random() < SELDOM:
            return self.fresh()
        near = self.one(self._mapped) + PAGE_SIZE * self.one((0, 0, 0, 0, 0, 1, 1, 2))
        return min(near, ARENA + PAGE_SIZE * (ARENA_PAGES - 1))

    def gone(self) -> int:
        """A page that will not be mapped after the call."""
        page = self.page()
        if page in self._mapped:
            self._mapped.remove(page)
        return page

    def fresh(self) -> int:
        """Any address for a mapping of up to three pages."""
        return ARENA + PAGE_SIZE * self.below(ARENA_PAGES - 4)

    def resized(self) -> tuple[int, int]:
        """(old length, new length) of an mremap(): where they differ, one of them is a page."""
        if self.below(2):
            return (length := self.one(MAP_LENGTHS)), length
        lengths = PAGE_SIZE, self.one(MAP_LENGTHS)
        return lengths if self.below(2) else lengths[::-1]

    def written(self) -> tuple[int, int]:
        """(length, offset) of a write."""
        length, offset = self.one(LENGTHS), self.one(OFFSETS)
        if self._in_page:
            length = min(length, PAGE_SIZE - offset % PAGE_SIZE)
        return length, offset

    def arguments(self, verb: str) -> Arguments:
        """What the call is called with."""
        match verb:
            case "memfd_create":
                flags = self.one(MFD_FLAGS if self._open else MFD_FLAGS[:ACCEPTED])
                if flags not in INVALID:
                    self.opened()
                return "file", flags | self._size
            case "open":
                created = self.below(8)
                if created:
                    self.opened()
                return FILES[self.below(2)], self.one(OPEN_FLAGS) | (O_CREAT if created else 0)
            case "reopen":
                fd = self.fd()
                self.opened()
                return fd, self.one(OPEN_FLAGS)
            case "dup":
                fd = self.fd()
                self.opened()
                return (fd,)
            case "pass_fd":
                fd = self.fd()
                self.opened()
                return fd, self.below(self.processes)
            case "close":
                fd = self.fd()
                if fd in self._open and self.processes == 1:
                    self._open.remove(fd)
                return (fd,)
            case "add_seals":
                return self.fd(), self.one(SEALS)
            case "get_seals":
                return (self.fd(),)
            case "ftruncate":
                return self.fd(), self.one(SIZES)
            case "fallocate":
                fd, mode = self.fd(), self.one(FALLOC_MODES)
                if self._size and mode == FALLOC_FL_KEEP_SIZE:
                    mode = 0
                return fd, mode, self.one(OFFSETS), self.one(LENGTHS)
            case "fchmod":
                return self.fd(), self.one(MODES)
            case "read":
                return self.fd(), self.one(LENGTHS)
            case "write":
                return self.fd(), self.letter(), 1 if self._in_page else self.one(LENGTHS)
            case "pread":
                return self.fd(), self.one(LENGTHS), self.one(OFFSETS)
            case "pwrite":
                return self.fd(), self.letter(), *self.written()
            case "mmap":
                address = self.page() if self.below(6) == 0 else self.fresh()
                self._mapped.append(address)
                kind = (MAP_PRIVATE if self.below(3) == 0 else MAP_SHARED) | MAP_FIXED
                offset = PAGE_SIZE * self.one((0, 0, 0, 0, 1, 2))
                return self.fd(), self.one(self._prots), kind, self.one(MAP_LENGTHS), offset, address
            case "munmap":
                return self.gone(), self.one(MAP_LENGTHS)
            case "mprotect":
                return self.page(), self.one(MAP_LENGTHS), self.one(self._prots)
            case "madvise":
                return self.page(), self.one(MAP_LENGTHS), MADV_DONTNEED
            case "mremap":
                sizes = self.gone(), *self.resized()
                if self.below(3) == 0:
                    return *sizes, 0, 0
                to = self.fresh()
                self._mapped.append(to)
                return *sizes, MREMAP_MAYMOVE | MREMAP_FIXED, to
            case "load":
                return self.page() + self.one(IN_PAGE), self.one(TOUCHED)
            case "store":
                return self.page() + self.one(IN_PAGE), self.letter(), self.one(TOUCHED)
            case _:
                return ()


def generate(
    seed: int, number: int, *, longest: int = LONGEST, forks: bool = True, limits: Limits = EVERYTHING
) -> Program:
    """Program `number` of those that come of `seed`: the same for ever.

    `forks`: whether a program may.
    """
    draw = random.Random(seed * 1_000_003 + number)
    huge = limits.huge_pages and number % HUGE_SHARE == 0
    state = _Draw(draw, limits, MFD_HUGETLB if huge else 0)
    weights, sums, beginning = WEIGHTS, CUMULATED, BEGINNING
    if forks and draw.random() < FORKING_SHARE:
        weights, sums, beginning = FORKING, FORKING_CUMULATED, FORKING_BEGINNING
    # A file with content first, for nothing is learned from calls that find nothing.
    first = beginning[: 1 + state.below(len(beginning))]
    rest = draw.choices(tuple(weights), cum_weights=sums, k=state.below(longest - len(first) + 1))
    calls = []
    for verb in (*first, *rest):
        process = state.below(state.processes)
        if verb == "fork":
            if state.processes == PROCESSES:
                continue
            state.processes += 1
        if verb == "pass_fd" and (state.processes == 1 or limits.no_sockets):
            continue
        made = "memfd_create" if verb == "open" and huge else verb
        calls.append(Call(process, made, state.arguments(made)))
    return tuple(calls)


def has_processes(program: Program) -> bool:
    """Whether it forks, exits, or passes a descriptor, to whomever."""
    return any(call.verb in ALONE for call in program)


def with_ending(program: Program) -> Program:
    """The program and then a look at all that is left: every file's content, and every page that may be mapped.

    Where descriptors were passed, every file is read first from where its position is, which moves it for all who share
    it.
    """
    opened = sum(call.verb in OPENING for call in program)
    targets = [call.arguments[-1] for call in program if call.verb in {"mmap", "mremap"}]
    starts = [address for address in targets if isinstance(address, int) and address]
    pages = sorted({start + number * PAGE_SIZE for start in starts for number in range(2)})
    passed = any(call.verb == "pass_fd" for call in program)
    looks: list[Call] = []
    for process in range(1 + sum(call.verb == "fork" for call in program)):
        fds = range(FIRST, FIRST + opened)
        looks += [Call(process, "read", (fd, LARGEST)) for fd in fds if passed]
        looks += [Call(process, "pread", (fd, LARGEST, 0)) for fd in fds]
        looks += [Call(process, "load", (page, PAGE_SIZE)) for page in pages]
    return (*program, *looks)


@attrs.frozen
class Batch:
    """Several programs of one seed, which whoever performs them draws for himself."""

    seed: int
    numbers: range
    longest: int
    forks: bool
    limits: Limits = EVERYTHING

    def programs(self) -> list[Program]:
        """The programs, each with its ending."""
        draw = functools.partial(generate, longest=self.longest, forks=self.forks, limits=self.limits)
        return [with_ending(draw(self.seed, number)) for number in self.numbers]


@attrs.frozen
class Given:
    """Programs in so many words."""

    given: tuple[Program, ...]

    def programs(self) -> list[Program]:
        """The programs as they are."""
        return list(self.given)
