"""The system calls of a scenario, answered by the model: one class for each group of them.

Each method looks its descriptor up and calls the kernel function of its name.
Not modelled: signals that interrupt a call; every call here runs to its end.
"""

from __future__ import annotations

from mmsim.kernel.entry.direct_io import DirectIoCalls
from mmsim.kernel.entry.files import FileCalls
from mmsim.kernel.entry.memory import MemoryCalls
from mmsim.kernel.entry.mounts import MountCalls
from mmsim.kernel.entry.other_memory import OtherMemoryCalls
from mmsim.kernel.entry.page_scan import PageScanCalls
from mmsim.kernel.entry.pipes import PipeCalls
from mmsim.kernel.entry.processes import ProcessCalls
from mmsim.kernel.entry.seals import SealCalls
from mmsim.kernel.entry.uring import RegisteredBufferCalls


class SimSyscalls(
    FileCalls,
    MemoryCalls,
    SealCalls,
    ProcessCalls,
    DirectIoCalls,
    MountCalls,
    OtherMemoryCalls,
    PageScanCalls,
    PipeCalls,
    RegisteredBufferCalls,
):
    """`mmsim.syscalls.Syscalls` for one thread of the model."""
