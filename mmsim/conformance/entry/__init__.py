"""The system calls of a scenario, performed by the running kernel: a class for each group, as in `mmsim.kernel.entry`.

Every call is the raw system call and its answer the raw answer.
"""

from __future__ import annotations

from mmsim.conformance.entry.direct_io import DirectIoCalls
from mmsim.conformance.entry.files import FileCalls
from mmsim.conformance.entry.memory import MemoryCalls
from mmsim.conformance.entry.mounts import MountCalls
from mmsim.conformance.entry.other_memory import OtherMemoryCalls
from mmsim.conformance.entry.page_scan import PageScanCalls
from mmsim.conformance.entry.pipes import PipeCalls
from mmsim.conformance.entry.processes import ProcessCalls
from mmsim.conformance.entry.seals import SealCalls
from mmsim.conformance.entry.uring import RegisteredBufferCalls


class RealSyscalls(
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
    """`mmsim.syscalls.Syscalls` for one thread on the running kernel; see `mmsim.conformance.needs` too."""
