"""What the tests of logs of strace share: lines that begin a log, and replaying one."""

from __future__ import annotations

from pathlib import Path

from mmsim.conformance.recorded.log import parsed
from mmsim.conformance.recorded.run import replay
from mmsim.kernel.releases import release_named
from mmsim.strategies.wait_for_pins import wait_for_pins

SAMPLES = Path(__file__).parent / "samples"
RECORDED_ON = release_named("v6.18.44")
NEW = 'memfd_create("a", MFD_ALLOW_SEALING) = 3'
SIZED = (NEW, "ftruncate(3, 8192) = 0")
MAPPED = (*SIZED, "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000")
SEAL = "fcntl(3, F_ADD_SEALS, F_SEAL_WRITE)"
BUSY = "-1 EBUSY (Device or resource busy)"
EPERM = "-1 EPERM (Operation not permitted)"


def replayed(*lines, strategy=wait_for_pins, release=RECORDED_ON):
    log = parsed(lines)
    assert not log.unreadable, log.unreadable
    result = replay(log, strategy, release)
    assert not result.unreadable, result.unreadable
    return result


def rules(result):
    return dict(result.rules)


def lines_that_differ(result):
    return [difference.line for difference in result.differences]
