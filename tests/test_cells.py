"""The world knows everything that was met, by name and by kind."""

from __future__ import annotations

from mmsim.cells import Cell, Handle, Lock, Mutex, SpinLock, World


class Owner(Handle):
    """Meets another while it is made."""

    def __init__(self, world, name):
        super().__init__(world, name)
        self.lock = world.lock(Mutex, f"{name}.lock")


def test_everything_of_a_kind_in_the_order_of_its_meeting():
    world = World()
    first = world.handle(Owner, "first")
    before = world.of(Lock)  # asked before the others are met
    spin = world.lock(SpinLock, "spin")
    second, count = world.handle(Owner, "second"), world.cell("count", 0)
    assert world.handle(Owner, "first") is first
    assert before == [first.lock]
    assert world.of(Lock) == [first.lock, spin, second.lock]
    assert world.of(Owner) == [first, second]
    assert world.of(Cell) == [first.lock, spin, second.lock, count]
    assert world.of(SpinLock) == [spin]
