"""What a scenario is: one file, its threads, its properties and the verdicts it expects.

A scenario file (`scenarios/NAME.py`) holds a module docstring, `async def` functions written against
`mmsim.syscalls.Syscalls`, and one value named `scenario`:

    scenario = Scenario(
        setup=setup,                       # runs alone, first; its return value is handed to every thread
        threads=(reader, sealer),          # threads of one process; process(...) puts threads into another one
        devices=(SLOW,),
        always=(sealed_content_never_changes,),
        sometimes=(seal_granted, seal_refused),
        expect={"sealing_v2": VIOLATED, "wait_for_pins": HOLDS, "delayed_unmap": HOLDS},
    )

Properties are plain functions of what the threads returned.  Each parameter bears the name of the thread whose
outcome it takes, and a property is judged wherever all the threads it names have finished.  Its name is its message.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs

from mmsim.syscalls import Device
from mmsim.verdict import Expected

ThreadFunction = Callable[..., Coroutine[Any, Any, object]]
Property = Callable[..., bool]


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


@attrs.frozen
class Scenario:
    """One question about memory management, with the answers it expects."""

    setup: ThreadFunction
    threads: tuple[ThreadFunction | Process, ...]
    children: tuple[ThreadFunction, ...] = ()
    """Functions that a thread may start with `sys.fork(child)`, each at most once."""
    devices: tuple[Device, ...] = ()
    always: tuple[Property, ...] = ()
    sometimes: tuple[Property, ...] = ()
    expect: Mapping[str, Expected] = attrs.field(factory=dict)
    """The expected verdict by name of the strategy."""
    words_per_page: int = 1
    """How many words a page has; a device writes and a CPU copies word by word.  A power of two."""
    model_only: bool = False
    """Never to be run on a real kernel."""
