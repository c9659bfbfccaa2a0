"""Cells, locks and handles: the named things that two CPUs can see.

A `Cell[T]` is one memory location.  Its value is immutable and hashable.  Its verbs are the kernel's words, and each
makes one `Step`; nothing happens until the step is awaited.  A `Handle` is a kernel object (a page, an mm, an inode):
it owns cells and holds no values, so it is itself a value that a cell can hold.  A `World` is one simulated machine:
it knows every handle and cell by name, so that a coroutine that is run again meets the very same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from mmsim.steps import Access, Alternatives, KernelBug, Step

T = TypeVar("T")
H = TypeVar("H", bound="Handle")


class Named:
    """Something with a name that is unique in its world; identity is equality."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


N = TypeVar("N", bound=Named)


class World:
    """Every handle and cell of one simulated machine, by name."""

    def __init__(self) -> None:
        self._known: dict[str, Named] = {}
        self._by_kind: dict[type, list[Any]] = {}

    def cell(self, name: str, initial: T) -> Cell[T]:
        """The cell of that name, made on first use with the value `initial`."""
        known = self._known.get(name)
        if known is None:
            known = self._met(name, Cell(name, initial))
        return cast("Cell[T]", known)

    def handle(self, kind: Callable[[World, str], H], name: str) -> H:
        """The handle of that name, made on first use as `kind(world, name)`."""
        known = self._known.get(name)
        if known is None:
            known = self._met(name, kind(self, name))
        return cast("H", known)

    def lock(self, kind: Callable[[str], L], name: str) -> L:
        """The lock of that name, made on first use as `kind(name)`."""
        known = self._known.get(name)
        if known is None:
            known = self._met(name, kind(name))
        return cast("L", known)

    def of(self, kind: type[N]) -> list[N]:
        """Everything of that kind met so far, in the order in which it was met."""
        found = self._by_kind.get(kind)
        if found is None:
            found = self._by_kind[kind] = [known for known in self._known.values() if isinstance(known, kind)]
        return found.copy()

    def _met(self, name: str, new: Named) -> Named:
        self._known[name] = new
        for kind, found in self._by_kind.items():
            if isinstance(new, kind):
                found.append(new)
        return new

    def named(self, name: str) -> Named | None:
        """Whatever bears this name, or None."""
        return self._known.get(name)


class Handle(Named):
    """A kernel object.  Owns cells, holds no values, and can itself be the value of a cell."""

    slab: Cell[tuple[Handle, ...]] | None = None
    """Where it is kept when nobody has it, if it is to be used again."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(name)
        self.world = world
        self._cells: dict[str, Cell[Any]] = {}

    def cell(self, field: str, initial: T) -> Cell[T]:
        """This object's field of that name."""
        known = self._cells.get(field)
        if known is None:
            known = self._cells[field] = self.world.cell(f"{self.name}.{field}", initial)
        return known

    def holds(self, view: Any) -> Iterable[Any]:  # noqa: ARG002 - for those that do hold something
        """What this one has references to in the state `view` (`view[cell]`), an object or its pin once for each.

        Too many to be told one by one are told as `mmsim.kernel.types.References`.
        """
        return ()


def check_hashable(value: Hashable, cell: object) -> None:
    """Refuse a value that no state could be made of.  Raises TypeError naming the cell."""
    try:
        hash(value)
    except TypeError:
        msg = f"the value {value!r} for cell {cell} is not hashable; cells hold ints, tuples, frozen attrs, handles"
        raise TypeError(msg) from None


class Cell(Named, Generic[T]):
    """One location in memory.  Every method makes a step; await it to perform it.

    Steps without operands are made once per cell: most steps are such, and a timed run makes the same ones for ever.
    """

    _load: Step[T] | None = None
    _inc: Step[None] | None = None
    _dec: Step[None] | None = None
    _get_reference: Step[None] | None = None
    _dec_and_test: Step[bool] | None = None
    _inc_not_zero: Step[bool] | None = None
    _inc_unless_negative: Step[bool] | None = None
    _dec_unless_positive: Step[bool] | None = None

    def __init__(self, name: str, initial: T) -> None:
        super().__init__(name)
        check_hashable(cast("Hashable", initial), name)
        self.initial = initial

    def load(self) -> Step[T]:
        """READ_ONCE()."""
        step = self._load
        if step is None:
            step = self._load = Step("load", self, Access.READ, _load)
        return step

    def store(self, value: T) -> Step[None]:
        """WRITE_ONCE()."""
        check_hashable(cast("Hashable", value), self)
        return Step("store", self, Access.WRITE, _store, (cast("Hashable", value),))

    def exchange(self, value: T) -> Step[T]:
        """xchg(): store and return the old value."""
        check_hashable(cast("Hashable", value), self)
        return Step("exchange", self, Access.WRITE, _exchange, (cast("Hashable", value),))

    def cmpxchg(self, old: T, new: T) -> Step[bool]:
        """try_cmpxchg(): store `new` if the value is `old`; whether it was."""
        check_hashable(cast("Hashable", new), self)
        return Step("cmpxchg", self, Access.WRITE, _cmpxchg, (cast("Hashable", old), cast("Hashable", new)))

    def update(self, change: Callable[..., T], *operands: Hashable) -> Step[None]:
        """One read-modify-write: the new value is `change(old, *operands)`, a pure function of a module."""
        return Step("update", self, Access.WRITE, _update, (change, *operands))

    def fetch_update(self, change: Callable[..., tuple[T, Any]], *operands: Hashable) -> Step[Any]:
        """As `update`, but `change` returns (new value, result)."""
        return Step("fetch_update", self, Access.WRITE, _fetch_update, (change, *operands))

    def wait_until(self, condition: Callable[..., bool], *operands: Hashable) -> Step[T]:
        """wait_event(): sleep until `condition(value, *operands)`; the value that ended the wait."""
        return Step("wait_until", self, Access.READ, _wait, (condition, *operands), sleeps=True)

    def wait_until_timeout(self, condition: Callable[..., bool], *operands: Hashable) -> Step[bool]:
        """wait_event_timeout(): as `wait_until`, but a timeout may end it at any moment; whether the condition held."""
        return Step("wait_until_timeout", self, Access.READ, _wait_timeout, (condition, *operands), sleeps=True)

    def spin_until(self, condition: Callable[..., bool], *operands: Hashable) -> Step[T]:
        """smp_cond_load(): spin, without sleeping, until `condition(value, *operands)`."""
        return Step("spin_until", self, Access.READ, _wait, (condition, *operands))

    def spin_update(self, condition: Callable[..., bool], change: Callable[..., T], *operands: Hashable) -> Step[T]:
        """Spin until `condition(value)`, and in the same instant set `change(value, *operands)`; the old value."""
        return Step("spin_update", self, Access.WRITE, _wait_update, (condition, change, *operands))

    # Counters.  A T that is an int; the checker of types cannot say so, the effects below do.  Like an atomic_t they
    # have 32 bits and wrap in silence.

    def add(self, amount: int) -> Step[None]:
        """atomic_add(): nobody looks at the result, so two adds commute."""
        return Step("add", self, Access.ADD, _add, (amount,))

    def inc(self) -> Step[None]:
        """atomic_inc()."""
        step = self._inc
        if step is None:
            step = self._inc = Step("inc", self, Access.ADD, _add, (1,))
        return step

    def dec(self) -> Step[None]:
        """atomic_dec()."""
        step = self._dec
        if step is None:
            step = self._dec = Step("dec", self, Access.ADD, _add, (-1,))
        return step

    def get_reference(self) -> Step[None]:
        """page_ref_inc() as get_page() does it: a bug if the count is 0, for then the object is already free.

        It looks at the count, so it does not commute with an `inc` that could have raised it from 0.  A count that has
        grown past INT_MAX is taken as it is, as get_page() takes it.
        """
        step = self._get_reference
        if step is None:
            step = self._get_reference = Step("inc", self, Access.WRITE, _get_reference)
        return step

    def dec_and_test(self) -> Step[bool]:
        """atomic_dec_and_test(): whether the count fell to 0.  A bug if it was 0 already."""
        step = self._dec_and_test
        if step is None:
            step = self._dec_and_test = Step("dec_and_test", self, Access.WRITE, _dec_and_test)
        return step

    def add_return(self, amount: int) -> Step[int]:
        """atomic_add_return()."""
        return Step("add_return", self, Access.WRITE, _add_return, (amount,))

    def inc_not_zero(self) -> Step[bool]:
        """atomic_inc_not_zero()."""
        step = self._inc_not_zero
        if step is None:
            step = self._inc_not_zero = Step("inc_not_zero", self, Access.WRITE, _inc_not_zero)
        return step

    def inc_unless_negative(self) -> Step[bool]:
        """atomic_inc_unless_negative()."""
        step = self._inc_unless_negative
        if step is None:
            step = self._inc_unless_negative = Step("inc_unless_negative", self, Access.WRITE, _inc_unless_negative)
        return step

    def dec_unless_positive(self) -> Step[bool]:
        """atomic_dec_unless_positive()."""
        step = self._dec_unless_positive
        if step is None:
            step = self._dec_unless_positive = Step("dec_unless_positive", self, Access.WRITE, _dec_unless_positive)
        return step

    def test_and_set(self, flag: Hashable) -> Step[bool]:
        """test_and_set_bit() on a frozenset of flags: whether it was set before."""
        return Step("test_and_set", self, Access.WRITE, _test_and_set, (flag,))


def _load(old: object) -> Alternatives:
    return ((old, old),)


def _store(_old: object, value: object) -> Alternatives:
    return ((value, None),)


def _exchange(old: object, value: object) -> Alternatives:
    return ((value, old),)


def _cmpxchg(old: object, expected: object, new: object) -> Alternatives:
    return ((new, True),) if old == expected else ((old, False),)


def _update(old: object, change: Callable[..., object], *operands: object) -> Alternatives:
    return ((change(old, *operands), None),)


def _fetch_update(old: object, change: Callable[..., tuple[object, object]], *operands: object) -> Alternatives:
    return (change(old, *operands),)


def _wait(old: object, condition: Callable[..., bool], *operands: object) -> Alternatives:
    return ((old, old),) if condition(old, *operands) else ()


def _wait_timeout(old: object, condition: Callable[..., bool], *operands: object) -> Alternatives:
    return ((old, True),) if condition(old, *operands) else ((old, False),)


def _wait_update(
    old: object, condition: Callable[..., bool], change: Callable[..., object], *operands: object
) -> Alternatives:
    return ((change(old, *operands), old),) if condition(old) else ()


INT_MAX = 2**31 - 1
ARBITRARY = 127


def wrapped(count: int) -> int:
    """The value of an atomic_t that was to become `count`."""
    return count if -INT_MAX <= count <= INT_MAX else (count + INT_MAX + 1) % 2**32 - INT_MAX - 1


def is_used_up(count: int) -> bool:
    """page_ref_zero_or_close_to_overflow(): whether nobody can have a reference, for too many were given back.

    A count that is negative by more is taken for one that has grown past INT_MAX.
    """
    return -ARBITRARY <= count <= 0


def _add(old: int, amount: int) -> Alternatives:
    return ((wrapped(old + amount), None),)


def _get_reference(old: int) -> Alternatives:
    if is_used_up(old):
        msg = "a reference is taken on an object that has none: it is already free"
        raise KernelBug(msg)
    return ((wrapped(old + 1), None),)


def _dec_and_test(old: int) -> Alternatives:
    if is_used_up(old):
        msg = "reference count below zero"
        raise KernelBug(msg)
    return ((wrapped(old - 1), old == 1),)


def _add_return(old: int, amount: int) -> Alternatives:
    new = wrapped(old + amount)
    return ((new, new),)


def _inc_not_zero(old: int) -> Alternatives:
    return ((wrapped(old + 1), True),) if old else ((old, False),)


def _inc_unless_negative(old: int) -> Alternatives:
    return ((old + 1, True),) if old >= 0 else ((old, False),)


def _dec_unless_positive(old: int) -> Alternatives:
    return ((old - 1, True),) if old <= 0 else ((old, False),)


def _test_and_set(old: frozenset[object], flag: object) -> Alternatives:
    return ((old | {flag}, flag in old),)


# Locks are cells too, held by `async with`.  A lock's value says who may enter, not who is inside: 0 free,
# -1 held by a writer (or the only holder), n > 0 held by n readers.

FREE, HELD = 0, -1


class Lock(Cell[int]):
    """What all locks share.  `lock_class` groups the locks that lockdep treats as one (every inode's i_mutex)."""

    sleeps = False
    _acquire: Step[None] | None = None
    _release: Step[None] | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name, FREE)
        self.lock_class = name.rpartition(".")[2]

    def acquire(self) -> Step[None]:
        """Take the lock for oneself; blocks while anybody holds it."""
        step = self._acquire
        if step is None:
            step = self._acquire = Step("lock", self, Access.WRITE, _lock, sleeps=self.sleeps, acquires=True)
        return step

    def release(self) -> Step[None]:
        """Give it back.  A bug if nobody holds it so."""
        step = self._release
        if step is None:
            step = self._release = Step("unlock", self, Access.WRITE, _unlock, releases=True)
        return step

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not GeneratorExit:  # a driver that drops a coroutine closes it; nothing may be awaited then
            await self.release()


class SpinLock(Lock):
    """spinlock_t: nobody may sleep while holding it."""

    def irqsave(self) -> IrqSaved:
        """spin_lock_irqsave(): for locks that an interrupt takes as well."""
        return IrqSaved(self)


class IrqSaved:
    """`async with lock.irqsave():`: the lock held with this CPU's interrupts off."""

    def __init__(self, lock: SpinLock) -> None:
        self.lock = lock

    async def __aenter__(self) -> None:
        await Step("lock_irqsave", self.lock, Access.WRITE, _lock, acquires=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not GeneratorExit:
            await self.lock.release()


class Mutex(Lock):
    """struct mutex: waiting for it sleeps."""

    sleeps = True


class RwSem(Mutex):
    """struct rw_semaphore.  `async with sem:` takes it for writing, `async with sem.read():` for reading.

    Not modelled: the fairness between waiting writers and new readers; every order of arrival is explored instead.
    """

    def read(self) -> ReadSide:
        """down_read() .. up_read()."""
        return ReadSide(self)

    def downgrade(self) -> Step[None]:
        """downgrade_write(): from the only holder to one reader."""
        return Step("downgrade", self, Access.WRITE, _downgrade)


class ReadSide:
    """`async with sem.read():`."""

    def __init__(self, sem: RwSem) -> None:
        self.sem = sem

    async def __aenter__(self) -> None:
        await Step("lock_shared", self.sem, Access.WRITE, _lock_shared, sleeps=True, acquires=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not GeneratorExit:
            await Step("unlock_shared", self.sem, Access.WRITE, _unlock_shared, releases=True)


L = TypeVar("L", bound=Lock)


def _lock(old: int) -> Alternatives:
    return ((HELD, None),) if old == FREE else ()


def _unlock(old: int) -> Alternatives:
    if old != HELD:
        msg = "a lock is released that is not held"
        raise KernelBug(msg)
    return ((FREE, None),)


def _downgrade(old: int) -> Alternatives:
    if old != HELD:
        msg = "a semaphore is downgraded that is not held for writing"
        raise KernelBug(msg)
    return ((1, None),)


def _lock_shared(old: int) -> Alternatives:
    return ((old + 1, None),) if old >= FREE else ()


def _unlock_shared(old: int) -> Alternatives:
    if old <= FREE:
        msg = "a semaphore is released that is not held for reading"
        raise KernelBug(msg)
    return ((old - 1, None),)
