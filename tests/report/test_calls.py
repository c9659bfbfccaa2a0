"""System calls as C writes them."""

from __future__ import annotations

import pytest

from mmsim.report.calls import written
from mmsim.syscalls import F_SEAL_GROW, F_SEAL_WRITE, MAP_SHARED, MFD_ALLOW_SEALING, PROT_READ, PROT_WRITE
from mmsim.trace import SYSTEM_CALLS, Frame
from tests.report.samples import SLOW


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("munmap", {"address": 4096, "length": 4096}, "munmap()"),
        ("munmap", {"address": 4096, "length": 8192}, "munmap(8192)"),
        ("add_seals", {"fd": 3, "seals": F_SEAL_WRITE | F_SEAL_GROW}, "fcntl(F_ADD_SEALS, F_SEAL_GROW|F_SEAL_WRITE)"),
        ("add_seals", {"fd": 3, "seals": 0}, "fcntl(F_ADD_SEALS, 0)"),
        ("add_seals", {"fd": 3, "seals": 0x108}, "fcntl(F_ADD_SEALS, F_SEAL_WRITE|0x100)"),
        ("get_seals", {"fd": 3}, "fcntl(F_GET_SEALS)"),
        (
            "mmap",
            {"fd": 3, "prot": PROT_READ | PROT_WRITE, "flags": MAP_SHARED, "length": 4096, "offset": 0},
            "mmap(PROT_READ|PROT_WRITE, MAP_SHARED)",
        ),
        ("memfd_create", {"name": "frame", "flags": MFD_ALLOW_SEALING}, "memfd_create(MFD_ALLOW_SEALING)"),
        ("submit_direct_read", {"device": SLOW, "address": 1, "data": b"late"}, 'io_submit(read, slow, "late")'),
        ("submit_direct_write", {"device": SLOW, "address": 1, "length": 4096}, "io_submit(write, slow)"),
        ("pread", {"fd": 3, "length": 10, "offset": 4096}, "pread(10, offset 4096)"),
        ("wait_for", {"io": object()}, "io_getevents()"),
        ("fork", {"child": len}, "fork(len)"),
        ("ftruncate", {"fd": 3, "length": 4096}, "ftruncate(4096)"),
        ("exit", {}, "exit()"),
    ],
)
def test_written(function, arguments, text):
    assert written(Frame(function, "syscalls.py", 1, tuple(arguments.items()))) == text


def test_the_names_come_from_the_contract():
    assert {"munmap", "add_seals", "submit_direct_read", "wait_for"} <= SYSTEM_CALLS
    assert "index" not in SYSTEM_CALLS
