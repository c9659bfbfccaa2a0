"""What a step costs: a function of the step and of the CPU that runs it, in ns.

`FlatCost` is the same for every step.  `CacheCost` keeps the cache lines of one machine, as MESI does, and charges for
what the line at hand must do to serve the step:

    hit              this CPU has the line: shared for a load, for itself alone for a store or an atomic
    shared fill      a load of a line that others have
    transfer         a store or an atomic on a line that others have: they lose it
    memory           a device has written it

Fills and transfers are cheaper within a socket than across.  A line that nobody has touched yet is at hand to the first
who does: what setup made is warm, and allocators give a CPU what it freed last.  A line is handed over to one CPU at a
time: whoever asks while it travels waits for his turn, and the CPU that had it goes on using it for the first half of
the way.  So an atomic on a hot line takes as long as there are CPUs that want it.

A page's memory is copied at so much a byte, and more where the lines are not at hand; a device's DMA costs the CPUs
nothing and leaves the lines in memory.  A TLB flush costs an inter-processor interrupt for each other CPU, once for
all the pages that are flushed one after the other.

Not modelled: the capacity of the caches (what a CPU once had it keeps until another takes it), prefetching, memory
bandwidth, store buffers, frequency scaling, hyperthreads.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final, Protocol

import attrs

from mmsim.cells import Cell, SpinLock
from mmsim.errors import UserError
from mmsim.kernel.page_alloc import poisoned
from mmsim.steps import Access, Context, Step
from mmsim.syscalls import PAGE_SIZE
from mmsim.timed.layout import Layout

PLAIN: Final = frozenset({"load", "store", "update", "fetch_update", "wait_until", "spin_until", "wait_until_timeout"})
"""Words of steps that are no atomic instruction.  An `update` is a change of a structure that a lock protects."""

WORK: Final = "work"
"""The word of a step that computes for as long as its operand says, and touches nothing."""

MEMORY, TLB = "memory", "TLB"
"""Kinds of lines that are no single line."""

NOBODY: Final = -1
READ: Final = Access.READ


class Cost(Protocol):
    """How long a step takes.

    A cost model may keep state (which CPU owns which cache line); it is asked once for every attempt at a step, in the
    order in which the attempts begin, and serves one run.
    """

    def __call__(self, step: Step[Any], cpu: int, now_ns: float, context: Context, /) -> float:
        """The duration in ns of one attempt at `step` that begins at `now_ns` on CPU `cpu`; not negative."""
        ...


def checked_duration(value: object, what: str, *, positive: bool = False) -> float:
    """`value` as a duration in ns.  Raises UserError unless it is a finite number, not negative (or `positive`)."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if math.isfinite(number) and (number > 0 if positive else number >= 0):
        return number
    wanted = "a positive number" if positive else "a number that is not negative"
    msg = f"{what} is {value!r}, but a duration is {wanted} of nanoseconds"
    raise UserError(msg)


def _check_flat(_cost: object, _attribute: object, value: object) -> None:
    checked_duration(value, "the cost of a step", positive=True)


@attrs.frozen
class FlatCost:
    """Every step takes `ns`, whatever it does and wherever it runs.

    Not 0: a loop of steps that take no time would never let the clock go on.
    """

    ns: float = attrs.field(default=10, validator=_check_flat)

    def __call__(self, _step: Step[Any], _cpu: int, _now_ns: float, _context: Context, /) -> float:
        """`ns`."""
        return self.ns


@attrs.frozen(kw_only=True)
class Figures:
    """What one kind of machine takes for what, in ns.  The presets are in `mmsim.timed.presets`."""

    name: str
    source: str
    """Where the figures come from, in a sentence."""
    line_bytes: int
    word: int
    """4 on a 32-bit machine."""
    cpus_per_socket: int
    step: float
    """The instructions around one access to shared memory.  Never 0: see `FlatCost`."""
    load: float
    store: float
    atomic: float
    """An access that hits; `atomic` for an instruction with a lock prefix."""
    fill: float
    transfer: float
    """From another CPU of the same socket: for a load, for a store."""
    fill_remote: float
    transfer_remote: float
    memory: float
    copy_byte: float
    """A byte copied between lines that are at hand; clearing a page is as dear."""
    copy_line: float
    """What each line of a page adds to that where it is not."""
    tlb_page: float
    """Forgetting one page on this CPU."""
    ipi: float
    """A TLB shootdown: the interrupt to another CPU until it has answered."""
    switch: float
    """From one thread to another on a CPU."""
    interrupt: float
    """Entry to and return from a device's interrupt."""
    syscall: float
    """Entry and return."""


@attrs.define
class Traffic:
    """How the lines of one kind were used."""

    fills: int = 0
    transfers: int = 0
    memory: int = 0
    queued_ns: float = 0
    """How long accesses waited for a line that was on its way to another CPU."""

    @property
    def moved(self) -> int:
        """How often a line went from one CPU to another."""
        return self.fills + self.transfers


class _Line:
    """The state of one line, as it will be once everybody who has asked for it so far has got it."""

    __slots__ = ("alone", "arrives_ns", "in_memory", "kind", "sharers", "traffic", "until")

    def __init__(self, kind: str, traffic: Traffic) -> None:
        self.kind = kind
        self.traffic = traffic
        self.in_memory = False
        """Whether a device has written it since, so that no CPU has it."""
        self.sharers = 0
        """One bit for each CPU that has it."""
        self.alone = NOBODY
        """The only CPU that has it, and may write it."""
        self.arrives_ns: float = 0
        """When the last of those who asked gets it."""
        self.until: dict[int, float] = {}
        """How long a CPU that had it for itself can still use it."""


class CacheCost:
    """The cache lines of one machine in one run."""

    def __init__(self, figures: Figures, layout: Layout) -> None:
        self.figures = figures
        self.switch_ns = figures.switch
        self.interrupt_ns = figures.interrupt
        self.traffic: dict[str, Traffic] = {}
        self.flushes: Counter[int] = Counter()
        """TLB shootdowns by the CPU that asked for them."""
        self.pages_copied = 0
        """Whole pages that a CPU filled with data; a page that is cleared is none."""
        self._layout = layout
        self._lines: dict[Cell[Any], _Line] = {}
        self._special: dict[Cell[Any], _Line] = {}
        self._by_place: dict[tuple[str, int], _Line] = {}
        self._flushing: dict[int, tuple[str, float]] = {}
        sockets = [_mask(cpu, figures.cpus_per_socket) for cpu in range(MOST_CPUS)]
        self._near = [mask & ~(1 << cpu) for cpu, mask in enumerate(sockets)]
        self._far = [~mask for mask in sockets]
        self._fill, self._fill_remote = figures.fill, figures.fill_remote
        self._transfer, self._transfer_remote = figures.transfer, figures.transfer_remote
        self._hit_load = figures.step + figures.load
        self._hit_store = figures.step + figures.store
        self._hit_atomic = figures.step + figures.atomic

    def __call__(self, step: Step[Any], cpu: int, now_ns: float, context: Context, /) -> float:
        """The duration of the step, and the lines' new state."""
        memo: tuple[CacheCost, _Line, bool, float] | None = step.memo
        if memo is None or memo[0] is not self:
            found = self._lines.get(step.cell)
            if found is None:
                return self._unlike_others(step, cpu, now_ns, context)
            memo = step.memo = (self, found, step.access is READ, self._hit(step))
        _, line, reads, hit = memo
        if line.alone == cpu or (reads and line.sharers >> cpu & 1) or line.until.get(cpu, 0) > now_ns:
            return hit
        return hit + self._fetch(line, cpu, now_ns, not reads)

    def _hit(self, step: Step[Any]) -> float:
        """What the step takes if this CPU has the line."""
        if step.access is READ:
            return self._hit_load
        if step.word in PLAIN or (step.releases and step.cell.__class__ is SpinLock):
            return self._hit_store
        return self._hit_atomic

    def _unlike_others(self, step: Step[Any], cpu: int, now_ns: float, context: Context) -> float:
        """The same where there is no line, a whole page of them or a TLB, or a cell that nobody has used yet."""
        cell = step.cell
        if cell is None:
            operands: tuple[Any, ...] = step.operands
            takes: float = operands[0] if step.word == WORK else self.figures.step
            step.memo = (self, EVERYWHERE, True, takes)
            return takes
        line = self._special.get(cell) or self._line(cell)
        if line.kind == MEMORY:
            return self._copy(line, step, cpu, context)
        if line.kind == TLB:
            return self._tlb(line, step, cpu, now_ns)
        return self(step, cpu, now_ns, context)

    def _fetch(self, line: _Line, cpu: int, now_ns: float, alone: bool) -> float:
        """Get the line to this CPU: how long that takes from now, its turn included."""
        sharers, had, start = line.sharers, line.alone, line.arrives_ns
        if start > now_ns:
            line.traffic.queued_ns += start - now_ns
        else:
            start = now_ns
        takes: float = 0
        if alone:
            if sharers:
                # One who shares the line only has to be told that the others have let go; that takes as long.
                line.traffic.transfers += 1
                takes = self._transfer_remote if sharers & self._far[cpu] else self._transfer
            line.arrives_ns = start + takes
            line.sharers, line.alone = 1 << cpu, cpu
        else:
            if sharers:
                line.traffic.fills += 1
                takes = self._fill if sharers & self._near[cpu] else self._fill_remote
            if had != NOBODY:
                line.arrives_ns = start + takes  # readers of a line that nobody writes are served side by side
            line.sharers = sharers | 1 << cpu
            line.alone = NOBODY if sharers else cpu
        if had != NOBODY:
            line.until[had] = start + takes / 2
        return start - now_ns + takes

    def _copy(self, line: _Line, step: Step[Any], cpu: int, context: Context) -> float:
        """A page's memory, which is many lines that go the same way."""
        figures, operands = self.figures, step.operands
        if context is Context.HARDIRQ:
            line.sharers, line.alone, line.in_memory = 0, NOBODY, True
            return 0
        if operands and operands[0] is poisoned:
            return 0  # the model's own, as page_poisoning=on would
        at_hand = line.sharers >> cpu & 1 or not (line.sharers or line.in_memory)
        line.traffic.memory += not at_hand
        line.in_memory = False
        if step.access is Access.READ:
            line.sharers |= 1 << cpu
            return figures.step + figures.load + (0 if at_hand else figures.memory)
        line.sharers, line.alone = 1 << cpu, cpu
        size = 0
        for operand in operands:
            if isinstance(operand, bytes):
                size = len(operand)
                break
        lines = -(-size // figures.line_bytes)
        self.pages_copied += size == PAGE_SIZE and step.word == "update"
        return figures.step + figures.store + size * figures.copy_byte + (0 if at_hand else lines * figures.copy_line)

    def _tlb(self, line: _Line, step: Step[Any], cpu: int, now_ns: float) -> float:
        """A CPU's own translation, or one that another CPU has to forget."""
        figures = self.figures
        if step.word != "spin_update":
            line.alone = cpu
            return figures.step + figures.load
        if line.alone in (cpu, NOBODY):
            return figures.step + figures.tlb_page
        whose = step.cell.name.rpartition(" of ")[2]
        told, until_ns = self._flushing.get(cpu, ("", -1.0))
        takes = figures.step + figures.tlb_page
        if told != whose or now_ns > until_ns:
            takes += figures.ipi
            self.flushes[cpu] += 1
        self._flushing[cpu] = (whose, now_ns + takes)
        line.alone = NOBODY
        return takes

    def _line(self, cell: Cell[Any]) -> _Line:
        place = self._layout.place(cell)
        key = (place.owner, place.number)
        line = self._by_place.get(key)
        if line is None:
            line = self._by_place[key] = _Line(place.kind, self.traffic.setdefault(place.kind, Traffic()))
        (self._special if line.kind in (MEMORY, TLB) else self._lines)[cell] = line
        return line


EVERYWHERE: Final = _Line("", Traffic())
"""In place of a line that no CPU ever has to fetch."""
EVERYWHERE.sharers = -1

MOST_CPUS: Final = 1024


def _mask(cpu: int, per_socket: int) -> int:
    """The bits of all CPUs of this one's socket."""
    first = cpu // per_socket * per_socket
    return ((1 << per_socket) - 1) << first
