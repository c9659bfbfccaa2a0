"""The diagram and the argument, to the letter."""

from __future__ import annotations

import attrs

from mmsim.report.argument import argument
from mmsim.report.diagram import diagram
from mmsim.steps import Context
from mmsim.trace import Execution
from tests.report.samples import AT_THE_WRITE, DEADLOCK, RACE, hardirq, step


def test_the_race_of_the_mail():
    assert (
        diagram(AT_THE_WRITE)
        == """\
  reader (CPU0)                 sealer (CPU1)
  -------------                 -------------
  io_submit(read, slow, "late")
    page0._refcount 2 -> 3             [gup.py:33]
  munmap()
    i_mmap_writable 1 -> 0            [mmap.py:51]
                                fcntl(F_ADD_SEALS, F_SEAL_WRITE)
                                  i_mmap_writable 0 -> -1  [memfd.py:70]
                                  seals 0 -> F_SEAL_WRITE  [memfd.py:88]
  bio_endio()  [hardirq]
    page0.data "orig" -> "late"  [direct_io.py:60]
    <- sealed content never changes"""
    )


def test_two_reads_that_differ_are_shown_and_all_others_are_not():
    lines = diagram(RACE).splitlines()
    assert [line.split("  [")[0].strip() for line in lines if "page0.data" in line] == [
        'page0.data = "orig"',
        'page0.data "orig" -> "late"',
        'page0.data = "late"',
    ]
    assert "Pte(page0)\n" not in diagram(RACE)
    assert lines[-1].endswith("<- sealed_content_never_changes")


def test_all_steps_hides_nothing():
    rows = [line for line in diagram(RACE, all_steps=True).splitlines() if "[" in line and ".py:" in line]
    assert len(rows) == len(RACE.steps)
    assert any("unlock mmap_lock" in row for row in rows)


def test_it_fits_into_a_mail():
    for execution in (RACE, AT_THE_WRITE, DEADLOCK):
        assert max(map(len, diagram(execution).splitlines())) <= 72


def test_a_deadlock_shows_the_locks_that_are_held():
    assert (
        diagram(DEADLOCK)
        == """\
  reader (CPU0)                   sealer (CPU1)
  -------------                   -------------
  munmap()
    lock mmap_lock  [mmap.py:40]
                                  fcntl(F_ADD_SEALS, F_SEAL_WRITE)
                                    lock i_rwsem  [memfd.py:60]
                                    <- no deadlock"""
    )


def test_an_interrupt_goes_to_a_cpu_that_is_idle_meanwhile():
    """The reader runs between the interrupt's two steps, so that the sealer's CPU must have taken it."""
    interrupted = Execution(
        (
            step("reader", "munmap", "mmap.py:1", "dec", "a.count", 2, 1),
            step("sealer", "pread", "filemap.py:1", "inc", "b.count", 0, 1),
            hardirq("direct_io.py:1", "store", "page0.data", b"a", b"b"),
            step("reader", "munmap", "mmap.py:2", "dec", "a.count", 1, 0),
            hardirq("direct_io.py:2", "store", "page0.flags", 0, 1),
        ),
        (),
        None,
    )
    (row,) = [line for line in diagram(interrupted).splitlines() if "bio_endio" in line]
    assert row.index("bio_endio") > 10


def test_interrupts_are_never_drawn_where_they_are_off():
    off = Execution(
        (
            step("reader", "munmap", "mmap.py:1", "lock_irqsave", "a.xa_lock", 0, -1),
            hardirq("direct_io.py:1", "store", "page0.data", b"a", b"b"),
        ),
        (),
        None,
    )
    assert "slow (CPU1)" in diagram(off)


def test_a_call_that_goes_on_after_an_interrupt_says_so():
    rows = (
        step("reader", "munmap", "mmap.py:1", "dec", "a.count", 2, 1),
        hardirq("direct_io.py:1", "store", "page0.data", b"a", b"b"),
        step("reader", "munmap", "mmap.py:2", "dec", "a.count", 1, 0),
    )
    assert "munmap()  (goes on)" in diagram(Execution(rows, (), None))


def test_choices_are_shown():
    choice = step("reader", "munmap", "mmap.py:1", "choose", "", alternative=1, alternatives=3)
    assert "choose (alternative 1 of 3)" in diagram(Execution((choice,), (), None))


def test_nothing_happened():
    assert diagram(Execution((), (), None)) == ""


def test_the_argument():
    assert (
        argument(RACE)
        == """\
Let reader raise page0._refcount 2 -> 3 in io_submit(read, slow, "late")
[gup.py:33]; then sealer sets seals 0 -> F_SEAL_WRITE in
fcntl(F_ADD_SEALS, F_SEAL_WRITE) [memfd.py:88], having found
i_mmap_writable at 0 as reader left it in munmap(); however that
reference is still held when slow (hardirq) sets page0.data "orig" ->
"late" in bio_endio() [direct_io.py:60]. So sealer reads page0.data
twice and finds "orig", then "late": a contradiction!"""
    )


def test_the_argument_of_a_deadlock_names_the_locks():
    assert argument(DEADLOCK).startswith(
        "Let reader hold mmap_lock, taken in munmap() [mmap.py:40]; and let\nsealer hold"
    )


def test_a_pin_that_was_given_back_in_its_own_call_is_no_origin():
    """The reader takes two references and gives one back at once, as gup does when the PTE has changed."""
    again = step("reader", "submit_direct_read", "gup.py:40", "dec_and_test", "page0._refcount", 4, 3)
    first = step("reader", "submit_direct_read", "gup.py:32", "inc_not_zero", "page0._refcount", 3, 4)
    steps = (*RACE.steps[:2], first, again, *RACE.steps[2:])
    assert "[gup.py:33]" in argument(attrs.evolve(RACE, steps=steps)).replace("\n", " ")


def test_no_argument_where_nothing_is_broken():
    assert argument(attrs.evolve(RACE, violation=None)) == ""
    assert argument(Execution((hardirq("d.py:1", "store", "page0.data", b"a", b"b"),), (), ("p", "q"))) == ""
    assert Context.HARDIRQ.value in diagram(RACE)
