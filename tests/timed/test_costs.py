"""The states of a line, each with the figure it must cost: worked out by hand from round figures."""

from __future__ import annotations

import attrs
import pytest

from mmsim.cells import SpinLock, World
from mmsim.errors import UserError
from mmsim.kernel.page_alloc import poisoned
from mmsim.kernel.releases import release_named
from mmsim.kernel.tlb import between_instructions, forget
from mmsim.kernel.types import Mm, Page, TlbEntry, patched
from mmsim.steps import Access, Context, Step
from mmsim.threads import Thread
from mmsim.timed import costfile, simulate
from mmsim.timed.costs import CacheCost, Figures
from mmsim.timed.layout import Layout
from mmsim.timed.presets import PRESETS
from tests.timed.toys import machine

ROUND = Figures(
    name="round", source="worked out by hand", line_bytes=64, word=8, cpus_per_socket=2, step=1, load=1, store=2,
    atomic=9, fill=40, transfer=60, fill_remote=100, transfer_remote=200, memory=300, copy_byte=0.5, copy_line=10,
    tlb_page=50, ipi=5000, switch=1000, interrupt=700, syscall=150,
)  # fmt: skip
TASK, HARDIRQ = Context.TASK, Context.HARDIRQ
LATER = 1_000_000


def model(figures=ROUND):
    world = World()
    return world, CacheCost(figures, Layout(world, release_named("v6.18")))


def test_a_line_that_nobody_has_touched_is_at_hand():
    world, cost = model()
    cell = world.cell("x", 0)
    assert cost(cell.load(), 0, 0, TASK) == 1 + 1
    assert cost(cell.load(), 0, LATER, TASK) == 1 + 1
    assert cost(cell.store(1), 0, LATER, TASK) == 1 + 2  # who read it alone may write it without asking
    assert cost(cell.inc(), 0, LATER, TASK) == 1 + 9


def test_a_load_of_what_another_cpu_has_is_a_fill():
    world, cost = model()
    cell = world.cell("x", 0)
    cost(cell.inc(), 0, 0, TASK)
    assert cost(cell.load(), 1, LATER, TASK) == 1 + 1 + 40
    assert cost(cell.load(), 2, 2 * LATER, TASK) == 1 + 1 + 100  # CPU 2 is on the other socket
    assert cost(cell.load(), 3, 3 * LATER, TASK) == 1 + 1 + 40  # CPU 2 is on this one
    assert cost(cell.load(), 0, 3 * LATER, TASK) == 1 + 1


def test_a_store_takes_the_line_away_from_all_others():
    world, cost = model()
    cell = world.cell("x", 0)
    cost(cell.load(), 0, 0, TASK)
    cost(cell.load(), 1, LATER, TASK)
    assert cost(cell.inc(), 0, 2 * LATER, TASK) == 1 + 9 + 60  # it has it, but shared
    assert cost(cell.load(), 1, 3 * LATER, TASK) == 1 + 1 + 40
    assert cost(cell.inc(), 2, 4 * LATER, TASK) == 1 + 9 + 200


def test_a_line_goes_to_one_cpu_at_a_time_and_stays_for_half_of_the_way():
    world, cost = model()
    cell = world.cell("x", 0)
    cost(cell.inc(), 0, 0, TASK)
    assert cost(cell.inc(), 1, LATER, TASK) == 10 + 60
    assert cost(cell.inc(), 0, LATER + 29, TASK) == 10  # it is still here
    assert cost(cell.inc(), 0, LATER + 31, TASK) == 10 + (60 - 31) + 60  # it has gone, and comes back after that
    assert cost.traffic["private.x"].queued_ns == 29


def test_readers_of_a_line_that_nobody_writes_do_not_queue():
    world, cost = model()
    cell = world.cell("x", 0)
    cost(cell.load(), 0, 0, TASK)
    cost(cell.load(), 1, LATER, TASK)
    assert cost(cell.load(), 2, 2 * LATER, TASK) == cost(cell.load(), 3, 2 * LATER, TASK) + 60  # 100 and 40


def test_cells_of_one_line_move_together():
    world, cost = model()
    page = world.handle(Page, "main.page[0]")
    cost(page.refcount.inc(), 0, 0, TASK)
    assert cost(page.mapcount.load(), 1, LATER, TASK) == 1 + 1 + 40
    assert cost.traffic["struct page"].moved == 1


def test_a_lock_is_taken_by_an_atomic_and_a_spinlock_given_back_by_a_store():
    world, cost = model()
    lock = world.lock(SpinLock, "l")
    cost(lock.acquire(), 0, 0, TASK)
    assert cost(lock.acquire(), 0, LATER, TASK) == 1 + 9
    assert cost(lock.release(), 0, LATER, TASK) == 1 + 2


def test_memory_is_copied_by_the_byte():
    world, cost = model()
    word = world.handle(Page, "main.page[0]").word(0)
    assert cost(word.store(bytes(4096)), 0, 0, TASK) == 3 + 4096 * 0.5
    assert cost(word.update(patched, 0, bytes(4096)), 0, LATER, TASK) == 3 + 4096 * 0.5
    assert cost(word.update(patched, 0, b"x" * 100), 1, LATER, TASK) == 3 + 50 + 2 * 10
    assert cost(word.update(poisoned), 1, LATER, TASK) == 0
    assert cost(word.update(patched, 0, bytes(4096)), 0, LATER, HARDIRQ) == 0  # DMA
    assert cost(word.load(), 1, LATER, TASK) == 1 + 1 + 300
    assert cost(word.load(), 1, LATER, TASK) == 1 + 1
    cost(word.update(patched, 0, bytes(4096)), 0, LATER, HARDIRQ)
    assert cost(word.update(patched, 0, bytes(4096)), 1, LATER, TASK) == 3 + 4096 * 0.5 + 64 * 10


def test_a_flush_interrupts_each_other_cpu_once():
    world, cost = model()
    mm = world.handle(Mm, "main.mm")

    def flush(cpu, address):
        return mm.tlb(cpu, address).spin_update(between_instructions, forget)

    for address in (0x10000, 0x11000):
        cost(mm.tlb("other", address).store(TlbEntry()), 1, 0, TASK)
    assert cost(flush("other", 0x10000), 0, LATER, TASK) == 1 + 50 + 5000
    assert cost(flush("other", 0x11000), 0, LATER + 5051, TASK) == 1 + 50
    cost(mm.tlb("mine", 0x10000).store(TlbEntry()), 0, 0, TASK)
    assert cost(flush("mine", 0x10000), 0, 2 * LATER, TASK) == 1 + 50


def test_switching_and_interrupts_take_their_time():
    world = World()
    cell = world.cell("x", 0)

    async def one():
        await cell.load()

    cost = CacheCost(ROUND, Layout(world, release_named("v6.18")))
    result = simulate(machine(world, Thread("a", one), Thread("b", one)), cpus=1, cost=cost)
    assert result.end_ns == 2 + 1000 + 2


def test_a_hot_atomic_is_as_slow_as_there_are_cpus():
    def per_operation(cpus):
        world = World()
        cell = world.cell("x", 0)

        async def hammer():
            for _ in range(2000):
                await cell.inc()

        cost = CacheCost(ROUND, Layout(world, release_named("v6.18")))
        threads = [Thread(f"t[{n}]", hammer) for n in range(cpus)]
        return simulate(machine(world, *threads), cpus=cpus, cost=cost).end_ns / 2000

    alone, two, four = (per_operation(cpus) for cpus in (1, 2, 4))
    assert alone == pytest.approx(10, rel=0.05)
    assert two > 2 * alone
    assert four == pytest.approx(2 * two, rel=0.1)


def test_the_same_seed_gives_the_same_run():
    def run():
        world = World()
        cell = world.cell("x", 0)

        async def hammer():
            for _ in range(50):
                await cell.inc()

        cost = CacheCost(ROUND, Layout(world, release_named("v6.18")))
        return simulate(machine(world, Thread("a", hammer), Thread("b", hammer)), seed=3, cost=cost, stagger_ns=500)

    assert run() == run()


def test_work_takes_what_it_says():
    _, cost = model()
    assert cost(Step("work", None, Access.NONE, lambda old, _ns: ((old, None),), (170.0,)), 0, 0, TASK) == 170


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_possible_machines(name):
    figures = PRESETS[name]
    durations = attrs.asdict(figures, filter=lambda field, _: field.type == "float")
    assert figures.name == name
    assert all(value >= 0 for value in durations.values())
    assert len(durations) == 16
    assert figures.load <= figures.atomic < figures.transfer <= figures.transfer_remote < figures.memory * 2


# A user's own file.


def text(**changes):
    given = {**attrs.asdict(ROUND), **changes}
    return "\n".join(f"{key} = {value!r}" for key, value in given.items() if value is not None)


def test_a_whole_file():
    assert costfile.parsed(text(), "my.toml") == ROUND


def test_a_file_like_a_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('like = "server"\natomic = 5\n')
    figures = costfile.figures(str(path))
    assert figures == attrs.evolve(PRESETS["server"], atomic=5, name="mine")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (text(atomic=None), "lacks the key 'atomic'"),
        (text(atomc=3), "has the key 'atomc', which is no figure; did you mean atomic?"),
        (text(atomic=-1), "atomic = -1, but a duration is a number that is not negative"),
        (text(atomic="fast"), "atomic = 'fast', but a duration is"),
        (text(step=0), "step = 0, but a duration is a positive number"),
        (text(line_bytes=48), "line_bytes = 48, but that is one of 16, 32, 64, 128, 256"),
        (text(cpus_per_socket=0), "cpus_per_socket = 0, but that is one of 1 to 1024"),
        (text(name=3), "name = 3, but that is a text"),
        (text() + "\natomic = nan", "is no TOML"),  # twice the same key
        ('like = "clowd"', "like 'clowd', which is no preset; did you mean cloud?"),
        ('like = "cloud"\natomic = nan', "atomic = nan"),
        ('like = "cloud"\natomic = true', "atomic = True"),
        ("atomic = ", "is no TOML"),
    ],
)
def test_mistakes_in_a_file(given, said):
    with pytest.raises(UserError) as caught:
        costfile.parsed(given, "my.toml")
    assert said in str(caught.value)
    assert "my.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clowd", "did you mean cloud?"),
        ("xyz", "there are cloud, server, board, or a file"),
        ("/no/such.toml", "cannot be read: No such file"),
    ],
)
def test_a_model_that_is_not_there(name, said):
    with pytest.raises(UserError, match=said):
        costfile.figures(name)
