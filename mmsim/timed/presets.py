"""The machines whose figures come with mmsim, each figure with its source.

"measured" is the calibration of this project (pinned, SCHED_FIFO, medians of 41 samples, run-to-run some 30 %);
"derived" says from which of its figures; "estimate" is no more than that, and no result should hang on it.
"""

from __future__ import annotations

from typing import Final

from mmsim.timed.costs import Figures

CLOUD: Final = Figures(
    name="cloud",
    source="measured on a 2-CPU x86-64 virtual machine (AMD Zen 4, one L3), Linux 6.18.44",
    line_bytes=64,
    word=8,
    cpus_per_socket=64,  # whatever number of CPUs is asked for shares one L3
    step=2.6,  # derived: F_ADD_SEALS takes 8.5 ns a page, which is three loads that hit
    load=0.27,  # measured: load, add, store through memory
    store=0.27,  # measured: the same
    atomic=2.02,  # measured: lock xadd on a line of one's own
    fill=32.4,  # measured: ping-pong of a line, one way
    transfer=32.4,  # measured: the same
    fill_remote=32.4,  # there is no other socket
    transfer_remote=32.4,  # there is no other socket
    memory=100.0,  # estimate: DRAM of a Zen 4 server, some 100 ns
    copy_byte=0.0102,  # measured: 41.7 ns for 4 KiB at hand
    copy_line=9.9,  # derived: 677 ns for 4 KiB that are not, less 41.7, over 64 lines
    tlb_page=150.0,  # derived: munmap takes 186 ns a touched page, of which the model's steps are some 36
    ipi=12_000.0,  # measured: what a second thread of the process on the other CPU adds to munmap
    switch=2_600.0,  # derived: pipe ping-pong on one CPU 5,614 ns with two switches, less two calls of some 200 ns
    interrupt=1_500.0,  # estimate: a virtual device's interrupt, entry to return
    syscall=172.0,  # measured: getppid
)

_XEON_NS: Final = 1 / 2.13
"""A cycle of the Xeon E7-8867L in ns."""

SERVER: Final = Figures(
    name="server",
    source="David, Guerraoui and Trigonakis, SOSP 2013, table 2: Xeon E7-8867L, 2.13 GHz, two sockets one hop apart",
    line_bytes=64,
    word=8,
    cpus_per_socket=10,  # the paper's machine
    step=4.5,  # estimate: cloud's figure at 2.13 GHz instead of some 3.7
    load=0.47,  # estimate: cloud's figure at 2.13 GHz
    store=0.47,  # estimate: the same
    atomic=20 * _XEON_NS,  # the paper: an atomic on a line of one's own, some 20 cycles
    fill=109 * _XEON_NS,  # the paper: load of a modified line, same die
    transfer=120 * _XEON_NS,  # the paper: compare-and-swap of a modified line, same die
    fill_remote=289 * _XEON_NS,  # the paper: load of a modified line, one hop
    transfer_remote=324 * _XEON_NS,  # the paper: compare-and-swap of a modified line, one hop
    memory=355 * _XEON_NS,  # the paper: load from RAM
    copy_byte=0.02,  # estimate: twice cloud's
    copy_line=15.0,  # estimate: half as much again as cloud's
    tlb_page=100.0,  # estimate: invlpg, no hypervisor
    ipi=3_000.0,  # estimate: a shootdown of one remote CPU on bare metal, some 6,000 cycles
    switch=1_500.0,  # estimate: pipe ping-pong on bare metal
    interrupt=1_000.0,  # estimate
    syscall=100.0,  # estimate: before the mitigations of 2018
)

BOARD: Final = Figures(
    name="board",
    source="estimates for a board with four Cortex-A7 at 900 MHz; only the caches' shape is from Arm's manual",
    line_bytes=64,  # Arm Cortex-A7 MPCore manual: 64-byte lines in the data cache
    word=4,  # ARMv7
    cpus_per_socket=4,  # one cluster
    step=15.0,  # estimate: some 14 cycles in order
    load=3.3,  # estimate: three cycles
    store=1.1,  # estimate: one cycle, the store buffer hides the rest
    atomic=25.0,  # estimate: ldrex, strex and a barrier
    fill=40.0,  # estimate: through the snoop control unit
    transfer=45.0,  # estimate: the same, and the others' invalidation
    fill_remote=40.0,  # there is no other cluster
    transfer_remote=45.0,  # there is no other cluster
    memory=150.0,  # estimate: LPDDR2
    copy_byte=0.5,  # estimate: some 2 GB/s in the cache
    copy_line=60.0,  # estimate: some 0.8 GB/s from memory
    tlb_page=200.0,  # estimate: the invalidation is broadcast by hardware
    ipi=0.0,  # ARMv7 MP extensions: TLB maintenance is broadcast, no CPU is interrupted
    switch=6_000.0,  # estimate
    interrupt=3_000.0,  # estimate
    syscall=400.0,  # estimate
)

PRESETS: Final = {figures.name: figures for figures in (CLOUD, SERVER, BOARD)}
