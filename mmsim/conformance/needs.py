"""What a scenario needs of the running kernel: refused, told why not, or tried out before it is run.

A scenario that cannot be run is skipped with one of these sentences, and a skip is no agreement.  `refusal` knows what
is never performed, whatever the machine; `require` tries what a machine may lack, in the worker that is going to run.
"""

from __future__ import annotations

import inspect
import mmap
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmsim.conformance import native
from mmsim.conformance.resources import Resources, nodes_with_memory, open_memory
from mmsim.syscalls import MAP_PRIVATE, PAGE_SIZE, PROT_READ, Syscalls

if TYPE_CHECKING:
    from mmsim.scenario import Scenario

VERBS: Final = frozenset(name for name, value in vars(Syscalls).items() if inspect.iscoroutinefunction(value))
TRANSPORTS: Final = ("block", "fuse", "loop")
"""What the FUSE file of the harness can stand for: the model gives `block` and `fuse` the same outcomes, and `loop` is
a loop device on that file."""

NEVER: Final = {
    "af_alg": "af_alg() is never performed: what the model knows of it is a vulnerability of shipped kernels",
    "inet_socketpair": "inet_socketpair() is never performed: what the model knows of it are vulnerabilities of "
    "shipped kernels",
    "tee_many": "tee_many() is never performed: it stands for more calls than a machine has memory for",
    "dev_zero": "dev_zero() is not performed: its pages are huge ones in the model, and here they may be small",
    "execve": "execve() is not performed: the program that it starts could not go on with the scenario",
}
"""Verbs that no kernel is asked for."""

SHMEM_ENABLED: Final = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
_CAP_LINUX_IMMUTABLE: Final = 9
_SKIPS_WITHOUT = {
    "nfs": "a device of transport 'nfs' needs a server that can be held back, which conform does not have",
    "rdma": "a device of transport 'rdma' needs an RDMA adapter that can be held back, which conform does not have",
}


def named_in(scenario: Scenario) -> frozenset[str]:
    """Every name that the functions of a scenario's file use."""
    functions = [value for value in scenario.setup.__globals__.values() if inspect.isfunction(value)]
    return frozenset(name for function in functions for name in function.__code__.co_names)


def verbs_of(scenario: Scenario) -> frozenset[str]:
    """The system calls that a scenario makes."""
    return named_in(scenario) & VERBS


def refusal(scenario: Scenario) -> str | None:
    """What this driver performs on no machine, as a sentence; None if nothing."""
    verbs = verbs_of(scenario)
    for verb in sorted(verbs & set(NEVER)):
        return NEVER[verb]
    devices = [*scenario.devices, *(device for group in scenario.threads for device in getattr(group, "devices", ()))]
    for transport in sorted({device.transport for device in devices} - set(TRANSPORTS)):
        return _SKIPS_WITHOUT.get(transport, f"a device of transport {transport!r} is not there on real kernels")
    if "submit_direct_write" in verbs and any(device.transport == "loop" for device in devices):
        return "a direct write to a loop device is not performed: its answer cannot be held back"
    if any(mount.checksums for mount in scenario.mounts):
        return "a disk that needs stable pages while it is written (checksums=True) is not there on real kernels"
    return None


def require(scenario: Scenario) -> None:
    """Try what the scenario needs, in a process that may be spoilt by it.  `native.Impossible` says what is missing."""
    named = named_in(scenario)
    verbs = named & VERBS
    Resources(verbs, lambda descriptor: descriptor).close()
    for asked, check in _CHECKS:
        if asked & named:
            check()
    _huge_pages(wanted=scenario.shmem_huge)


def _two_nodes() -> None:
    nodes = len(nodes_with_memory())
    if nodes < 2:  # noqa: PLR2004  (from one node to another)
        msg = f"move_pages() moves nothing here: it takes two NUMA nodes with memory, and this machine has {nodes}"
        raise native.Impossible(msg)


def _forces_memory() -> None:
    """Whether /proc/PID/mem writes a private mapping that is read-only (CONFIG_PROC_MEM_*, v6.12 and later)."""
    flags = MAP_PRIVATE | mmap.MAP_ANONYMOUS
    address = native.syscall(native.SYS_MMAP, 0, PAGE_SIZE, PROT_READ, flags, -1, 0)
    try:
        fd = open_memory(os.getpid())
        try:
            os.pwrite(fd, b"\0", address)
        finally:
            os.close(fd)
    except OSError as error:
        msg = f"/proc/PID/mem does not write read-only memory here ({os.strerror(error.errno or 0)})"
        raise native.Impossible(msg) from None
    finally:
        native.syscall(native.SYS_MUNMAP, address, PAGE_SIZE)


def _writes_to_processes() -> None:
    answer = native.syscall(native.SYS_PROCESS_VM_WRITEV, os.getpid(), 0, 0, 0, 0, 0)
    if answer < 0:
        msg = f"process_vm_writev() is refused here ({os.strerror(-answer)})"
        raise native.Impossible(msg)


def _sets_flags() -> None:
    capabilities = re.search(r"^CapEff:\s*(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    if capabilities is None or not int(capabilities[1], 16) >> _CAP_LINUX_IMMUTABLE & 1:
        raise native.Impossible("chattr +i needs CAP_LINUX_IMMUTABLE, which this process does not have")


def _has_free_huge_pages() -> None:
    found = re.search(r"^HugePages_Free:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    if found is None or not int(found[1]):
        msg = "MFD_HUGETLB needs free huge pages, and this machine has none (vm.nr_hugepages)"
        raise native.Impossible(msg)


def _huge_pages(*, wanted: bool) -> None:
    """Whether memfds have huge pages is one switch for the whole machine, which is left as it is."""
    there = SHMEM_ENABLED.exists() and any(word in SHMEM_ENABLED.read_text() for word in ("[always]", "[force]"))
    if wanted and not there:
        msg = f"huge pages of memfds are a switch of the whole machine ({SHMEM_ENABLED}), which is off and stays so"
        raise native.Impossible(msg)
    if there and not wanted:
        msg = f"memfds have huge pages on this machine ({SHMEM_ENABLED}), and the scenario is about small ones"
        raise native.Impossible(msg)


_CHECKS: Final[tuple[tuple[frozenset[str], Callable[[], None]], ...]] = (
    (frozenset({"move_pages"}), _two_nodes),
    (frozenset({"mem_write"}), _forces_memory),
    (frozenset({"process_vm_writev"}), _writes_to_processes),
    (frozenset({"chattr"}), _sets_flags),
    (frozenset({"MFD_HUGETLB"}), _has_free_huge_pages),
)
"""What these names need."""
