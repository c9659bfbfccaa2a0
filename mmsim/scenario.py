"""What a scenario is: one file, its threads, its properties and the verdicts it expects.

A scenario file (`scenarios/NAME.py`) holds a module docstring, `async def` functions written against
`mmsim.syscalls.Syscalls`, and one value named `scenario`:

    scenario = Scenario(
        question="seal",                   # its chapter; only the catalogue that comes with mmsim has to have one
        setup=setup,                       # runs alone, first; its return value is handed to every thread
        threads=(reader, sealer),          # threads of one process; process(...) puts threads into another one
        devices=(SLOW,),
        always=(sealed_content_never_changes,),
        sometimes=(seal_granted, seal_refused),
        expect={OTHERS: HOLDS, "sealing_v2": VIOLATED},
    )

Properties are plain functions of what the threads returned.  Each parameter bears the name of the thread whose
outcome it takes, and a property is judged wherever all the threads it names have finished.  Its name is its message.

What a bug of the past broke is a scenario with a `history`: from which release on its verdict is which, under the
design that Linux itself carries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any, Final

import attrs

from mmsim.syscalls import Device, Mount
from mmsim.verdict import OTHERS, Expected
from mmsim.versions import version

ThreadFunction = Callable[..., Coroutine[Any, Any, object]]
Property = Callable[..., bool]

LINUX_CARRIES: Final = "wait_for_pins"
"""The design in Linux since v3.17: a scenario's `history` is about it."""


@attrs.frozen
class Process:
    """Threads that share an mm of their own: not the mm that `setup` ran in, only its open files."""

    threads: tuple[ThreadFunction, ...]
    copies: int = 1
    devices: tuple[Device, ...] = ()

    def thread_name(self, thread: ThreadFunction, number: int) -> str:
        """`user`, or `user[1]` for the second of several copies; a further thread of that copy is `user[1].helper`."""
        if self.copies == 1:
            return thread.__name__
        first = f"{self.threads[0].__name__}[{number}]"
        return first if thread is self.threads[0] else f"{first}.{thread.__name__}"


def process(*threads: ThreadFunction) -> Process:
    """A process other than the one `setup` ran in.  It inherits the descriptors, not the mappings."""
    return Process(threads)


def copies(count: int, *threads: ThreadFunction, devices: tuple[Device, ...] = ()) -> Process:
    """`count` processes alike, each with `devices` of its own; the checker explores one of each permutation.

    Their threads are named `user[0]`, `user[1]`, ... after the function.
    """
    return Process(threads, count, devices)


QUESTIONS: Final = {
    "seal": "Can a write that is under way outlive F_SEAL_WRITE?",
    "mapping": "Can a mapping, or a CPU that remembers one, outlive F_SEAL_WRITE?",
    "other seals": "What do the other seals promise, and is it kept?",
    "references": "Who else holds pages, and is a seal refused, or let through, for his sake?",
    "remount": "Does a file system that was remounted read-only stay as it was?",
    "immutable": "Does S_IMMUTABLE make a file immutable?",
    "text": "Does a program that runs keep its text?",
    "kept": "What must not be lost on the way: data of completed I/O, counts, pages?",
    "waiting": "Who waits, and can somebody else make him?",
    "history": "Bugs of the past: does the checker find them, and does it see that they are fixed?",
}
"""The chapters of the catalogue, in order."""


@attrs.frozen
class Scenario:
    """One question about memory management, with the answers it expects."""

    question: str = attrs.field(default="", kw_only=True)
    """The chapter of the catalogue it belongs to; see `QUESTIONS`."""
    sibling: str = attrs.field(default="", kw_only=True)
    """Where all designs get it right: the scenario most like it that some design gets wrong."""
    setup: ThreadFunction
    threads: tuple[ThreadFunction | Process, ...]
    children: tuple[ThreadFunction, ...] = ()
    """Functions that a thread may start with `sys.fork(child)`, each at most once."""
    devices: tuple[Device, ...] = ()
    always: tuple[Property, ...] = ()
    sometimes: tuple[Property, ...] = ()
    needless: tuple[Property, ...] = ()
    """Outcomes that show a refusal which nobody needed: no property is broken by them, but `compare` counts them."""
    expect: Mapping[str, Expected | None] = attrs.field(factory=dict)
    """The expected verdict by name of the strategy; OTHERS stands for every design of the catalogue not named, and
    UNASKED keeps it away from one that is."""
    release: str = "v3.17"
    """The release it is judged on where nobody says."""
    history: Mapping[str, Expected] = attrs.field(factory=dict)
    """From each release named on, the expected verdict of the design that Linux carries."""
    mounts: tuple[Mount, ...] = ()
    """File systems that are mounted when `setup` runs."""
    words_per_page: int = 1
    """How many words a page has; a device writes and a CPU copies word by word.  A power of two."""
    shmem_huge: bool = False
    """/sys/kernel/mm/transparent_hugepage/shmem_enabled is `force`: the pages of memfds are huge ones, from v4.8 on."""
    evicts: bool = False
    """Whether a memfd that nobody refers to any more goes, and its pages leave the cache; else it stays as it is, which
    nobody but the page allocator could tell, and makes fewer states."""
    model_only: bool = False
    """Never to be run on a real kernel."""

    def expected(self, strategy: str, release: str, catalogue: Collection[str]) -> Expected | None:
        """The verdict expected of a strategy on a release; `catalogue` names the designs that OTHERS stands for."""
        if self.history and strategy == LINUX_CARRIES:
            since = [known for known in self.history if version(known) <= version(release)]
            return self.history[max(since, key=version)] if since else None
        if self.history and release != self.release:
            return None  # what a release changes here, it changes for every design
        return self.expect.get(strategy, self.expect.get(OTHERS) if strategy in catalogue else None)

    def tests(self, catalogue: Collection[str]) -> tuple[tuple[str, str], ...]:
        """(strategy, release) of every test that it has an expectation for, in the catalogue's order."""
        judged = [
            (strategy, self.release)
            for strategy in (*catalogue, *(name for name in self.expect if name not in (*catalogue, OTHERS)))
            if not (self.history and strategy == LINUX_CARRIES)
            and self.expected(strategy, self.release, catalogue) is not None
        ]
        return (*judged, *((LINUX_CARRIES, release) for release in self.history))
