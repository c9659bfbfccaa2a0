"""The rules of locking: by class as lockdep has it, and those that one thread alone can break."""

from mmsim.cells import Cell, Mutex, RwSem, SpinLock
from mmsim.engine.lockdep import lock_fault
from mmsim.engine.reduced import explore_reduced
from mmsim.engine.search import explore
from mmsim.steps import Context, KernelBug, cond_resched
from tests.engine.programs import at_least, broken_names, thread, toy

SLEEPING = "no sleeping in atomic context"


async def nest(outer, inner, *more):
    async with outer, inner:
        for lock in more:
            async with lock:
                pass


async def take(lock):
    async with lock:
        pass


async def take_irqsave(lock):
    async with lock.irqsave():
        pass


def fault_of(*threads):
    tables = toy(*threads)
    assert not broken_names(explore(tables)) - {"no deadlock"}
    fault = lock_fault(tables.automata)
    again = toy(*threads)
    explore_reduced(again)
    assert (fault and fault.property) == (lock_fault(again.automata) and lock_fault(again.automata).property)
    return fault


async def first_then(cell, outer, inner):
    await nest(outer, inner)
    await cell.store(1)


async def later(cell, outer, inner):
    await cell.wait_until(at_least, 1)
    await nest(outer, inner)


def test_an_inversion_that_never_deadlocks():
    cell, x, y = Cell("c", 0), Mutex("a.x"), Mutex("a.y")
    fault = fault_of(thread(first_then, cell, x, y), thread(later, cell, y, x))
    assert fault.property == "no lock inversion"
    assert fault.detail == "first_then takes y under x, elsewhere y -> x"


def test_a_circle_of_three():
    x, y, z = SpinLock("a.x"), SpinLock("a.y"), SpinLock("a.z")
    one = [thread(nest, x, y, name="a"), thread(nest, y, z, name="b")]
    assert fault_of(*one) is None
    assert fault_of(*one, thread(nest, z, x, name="c")).property == "no lock inversion"


def test_locks_are_judged_by_class():
    """Two inodes' locks are of one class: y of one under x of another is the same order; the nesting of x in x is not."""
    one, two = (Mutex("one.x"), Mutex("one.y")), (Mutex("two.x"), Mutex("two.y"))
    assert fault_of(thread(nest, *one, name="a"), thread(nest, *two, name="b")) is None
    assert fault_of(thread(nest, *one, name="a"), thread(nest, *two[::-1], name="b")).property == "no lock inversion"
    assert fault_of(thread(nest, one[0], two[0], name="a"), thread(nest, two[0], one[0], name="b")) is None


def test_a_lock_that_an_interrupt_takes_too():
    lock = SpinLock("a.lock")
    irq = thread(take, lock, name="irq", context=Context.HARDIRQ)
    fault = fault_of(thread(take, lock), irq)
    assert fault.property == "no lock is taken unsafely for interrupts"
    assert fault.thread == 0
    assert fault_of(thread(take_irqsave, lock), irq) is None


def broken_by(*threads):
    found = explore(toy(*threads))
    assert broken_names(explore_reduced(toy(*threads))) == broken_names(found)
    return {broken.fault for broken in found.broken}


async def reschedules(lock):
    async with lock:
        await cond_resched()


async def waits(lock, cell):
    async with lock.irqsave():
        await cell.wait_until(at_least, 1)


def test_sleeping_under_a_spinlock():
    spin, mutex = SpinLock("a.spin"), Mutex("a.mutex")
    cell = Cell("c", 1)
    assert broken_by(thread(nest, spin, mutex)) == {(SLEEPING, "lock a.mutex may sleep while nest holds a.spin")}
    assert broken_by(thread(reschedules, spin)) == {(SLEEPING, "cond_resched may sleep while reschedules holds a.spin")}
    assert broken_by(thread(waits, spin, cell)) == {(SLEEPING, "wait_until c may sleep while waits holds a.spin")}
    assert broken_by(thread(nest, mutex, spin)) == set()
    assert broken_by(thread(reschedules, mutex)) == set()


async def work(cell, lock):
    await cell.load()
    await take(lock)


async def read_side(cell, lock):
    await cell.load()
    async with lock.read():
        pass


async def interrupted(cell, lock):
    await cell.load()
    await read_side(cell, lock)


def test_sleeping_in_an_interrupt():
    cell, mutex, sem = Cell("c", 0), Mutex("a.mutex"), RwSem("a.sem")
    for context in (Context.HARDIRQ, Context.SOFTIRQ):
        assert broken_by(thread(work, cell, mutex, context=context)) == {
            (SLEEPING, f"lock a.mutex may sleep in {context.value} context")
        }
    assert broken_by(thread(interrupted, cell, sem, context=Context.HARDIRQ)) == {
        (SLEEPING, "lock_shared a.sem may sleep in hardirq context")
    }
    assert broken_by(thread(work, cell, mutex)) == set()


async def keeps(lock):
    await lock.acquire()


async def keeps_reading(lock):
    await lock.read().__aenter__()


async def downgrades(lock, *, properly):
    await lock.acquire()
    await lock.downgrade()
    if properly:
        await lock.read().__aexit__(None, None, None)
    else:
        await lock.release()


def downgrade_well(lock):
    return downgrades(lock, properly=True)


def downgrade_badly(lock):
    return downgrades(lock, properly=False)


def test_a_lock_held_at_the_end():
    lock = RwSem("a.lock")
    assert broken_by(thread(keeps, lock)) == {("no lock is held at the end", "keeps ends while it holds a.lock")}
    assert {name for name, _ in broken_by(thread(keeps_reading, lock))} == {"no lock is held at the end"}
    assert broken_by(thread(downgrade_well, lock)) == set()
    assert {name for name, _ in broken_by(thread(downgrade_badly, lock))} == {"no kernel bug"}


def test_the_same_mutex_twice_is_a_deadlock():
    lock = Mutex("a.lock")
    assert broken_by(thread(nest, lock, lock)) == {("no deadlock", "nest waits in lock a.lock")}
    one = Mutex("a.one"), Mutex("a.two")
    assert broken_by(thread(nest, *one)) == set()


async def at_once():
    message = "at once"
    raise KernelBug(message)


def test_a_bug_before_the_first_step():
    assert broken_by(thread(at_once)) == {("no kernel bug", "at once")}


async def sleeps_first(lock):
    await take(lock)


def test_an_interrupt_whose_first_step_sleeps():
    assert broken_by(thread(sleeps_first, Mutex("a.lock"), context=Context.HARDIRQ)) == {
        (SLEEPING, "lock a.lock may sleep in hardirq context")
    }


async def takes_and_keeps(lock, cell):
    await lock.acquire()
    await cell.load()


async def gives_back_for_another(lock, cell):
    await cell.load()
    await lock.release()


def test_a_lock_is_given_back_by_its_holder_alone():
    """The reduction looks no further than a lock somebody holds, so nobody else may let it go."""
    cell, lock = Cell("c", 0), Mutex("a.lock")
    broken = broken_by(
        thread(takes_and_keeps, lock, cell, name="a"), thread(gives_back_for_another, lock, cell, name="b")
    )
    assert ("no kernel bug", "unlock a.lock: b does not hold it") in broken
