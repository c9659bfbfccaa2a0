"""Ways in which a coroutine holds its local state; what tells two of its histories apart differs in each."""

import random

import attrs


async def forgets(cell):
    seen = await cell.load()
    seen = 0
    await cell.load()
    return seen


async def counts_to_two(cell):
    for _ in range(2):
        await cell.load()


async def sum_of_two(cell):
    return await cell.load() * 10 + await cell.load()


async def list_in_mid_iteration(cell):
    total = ()
    for weight in [1, 1, 1]:
        total = (*total, weight * await cell.load())
    return total


async def same_item_again(cell):
    count = 0
    for _item in [None, None, None]:
        if await cell.load():
            count += 1
    return count


async def zipped(cell):
    return tuple([number * await cell.load() for number, _ in zip([1, 1], "ab", strict=True)])


async def enumerated(cell):
    seen = ()
    for number, _ in enumerate([5, 5]):
        seen = (*seen, (number, await cell.load()))
    return seen


async def backwards(cell):
    seen = 0
    for weight in reversed([1, 10]):
        seen += weight * await cell.load()
    return seen


async def aliased(cell):
    one = []
    two = one if await cell.load() else []
    await cell.load()
    one.append(1)
    return len(two)


async def aliased_in_a_dict(cell):
    shelf = {"a": [], "b": []}
    if await cell.load():
        shelf["b"] = shelf["a"]
    await cell.load()
    shelf["a"].append(1)
    return len(shelf["b"])


def gather(**named):
    return tuple(sorted(named.items()))


async def keywords(cell):
    return gather(one=await cell.load(), two=await cell.load(), three=await cell.load())


async def dictionary(cell):
    seen = {}
    seen[await cell.load()] = "first"
    seen[await cell.load()] = "second"
    return tuple(seen.items())


async def growing_set(cell):
    seen = set()
    while len(seen) < 2:
        before = await cell.load()
        if before in seen:
            break
        seen.add(before)
    return len(seen)


async def comprehension(cell):
    return tuple([await cell.load() for _ in range(2)])


async def nested(cell):
    return (await sum_of_two(cell), await forgets(cell))


async def in_a_handler(cell):
    try:
        raise KeyError(await cell.load())
    except KeyError as error:
        await cell.load()
        return error.args[0]


async def kept_for_the_handler(cell):
    seen = "nothing"
    try:
        seen = await cell.load()
        later = await cell.load()
        if later:
            raise ValueError
        seen = "overwritten"
    except ValueError:
        await cell.load()
    return seen


async def kept_for_finally(cell):
    seen = await cell.load()
    told = []
    try:
        if await cell.load():
            return "early", told
    finally:
        told.append(seen)
    return "late", tuple(told)


async def maybe_unbound(cell):
    if await cell.load():
        bound = 1
    await cell.load()
    try:
        return bound
    except UnboundLocalError:
        return "unbound"


async def deleted(cell):
    here = 1
    if await cell.load():
        del here
    await cell.load()
    return "here" in locals()


async def by_locals(cell):
    seen = await cell.load()
    await cell.load()
    return locals()["seen"] if seen is not None else 0


async def or_else(cell):
    return (await cell.load() or "zero", await cell.load() and "more")


async def chained(cell):
    return 0 <= await cell.load() < await cell.load() < 3


async def starred(cell):
    return (*[await cell.load(), 7], await cell.load())


async def formatted(cell):
    return f"{await cell.load()}-{await cell.load()}"


async def walrus(cell):
    return ((first := await cell.load()), await cell.load(), first)


async def matched(cell):
    match (await cell.load(), 1):
        case (0, one):
            return one, await cell.load()
        case (other, _):
            return other, await cell.load()


@attrs.frozen
class Pair:
    one: int
    two: object


async def attributes(cell):
    pair = Pair(await cell.load(), [])
    await cell.load()
    pair.two.append(1)
    return pair.one, len(pair.two)


async def floats(cell):
    zero = -0.0 if await cell.load() else 0.0
    await cell.load()
    return str(zero)


async def not_a_number(cell):
    zero = float("nan")
    seen = await cell.load()
    await cell.load()
    return seen, str(zero)


async def true_or_one(cell):
    value = True if await cell.load() else 1
    await cell.load()
    return repr(value)


async def frozen_true_or_one(cell):
    value = frozenset({True}) if await cell.load() else frozenset({1})
    await cell.load()
    return repr(value)


# ---- state that hides behind something callable


async def pops(cell):
    pop = [1, 0, 0].pop
    while not pop():
        await cell.load()
    return "done"


async def pushes(cell):
    push = [].append
    while len(push.__self__) < 3:
        push(await cell.load() > 5)
    return "done"


def counter():
    count = 0

    def bump():
        nonlocal count
        count += 1
        return count

    return bump


async def closes_over(cell):
    bump = counter()
    while bump() < 4:
        await cell.load()
    return "done"


async def mutable_default(cell):
    def bump(kept=[]):  # noqa: B006 - a default that is changed is what is tried
        kept.append(1)
        return len(kept)

    while bump() < 3:
        await cell.load()
    return "done"


async def keyword_default(cell):
    def bump(*, kept=[]):  # noqa: B006 - a default that is changed is what is tried
        kept.append(1)
        return len(kept)

    while bump() < 3:
        await cell.load()
    return "done"


async def attribute_of_a_function(cell):
    def bump():
        pass

    bump.count = 0
    while bump.count < 3:
        bump.count += 1
        await cell.load()
    return "done"


async def attribute_of_a_class(cell):
    class Counter:
        count = 0

    while Counter.count < 3:
        Counter.count += 1
        await cell.load()
    return "done"


async def random_numbers(cell):
    draw = random.Random(1).random
    drawn = 0
    while draw() < 0.9 and drawn < 3:
        drawn += 1
        await cell.load()
    return drawn


async def dice(cell):
    draw = random.Random(5).random
    while draw() < 0.75:
        await cell.load()
    return "done"


class Plain:
    def __init__(self):
        self.count = 0

    def bump(self):
        self.count += 1
        return self.count


async def unknown_object(cell):
    plain = Plain()
    while plain.bump() < 3:
        await cell.load()
    return plain.count


async def bound_method(cell):
    bump = Plain().bump
    while bump() < 3:
        await cell.load()
    return "done"


async def generator(cell):
    return tuple([await cell.load() for _ in (number for number in range(2))])


async def mapped(cell):
    return tuple([await cell.load() + number for number in map(int, "12")])


async def of_a_dict(cell):
    seen = ()
    for key in {"a": 1, "b": 2}:
        seen = (*seen, (key, await cell.load()))
    return seen


async def array_of_bytes(cell):
    seen = bytearray()
    while len(seen) < 2:
        seen.append(await cell.load())
    return bytes(seen)


async def slices(cell):
    seen = [0, 1, 2, 3][await cell.load() : await cell.load() + 2]
    return tuple(seen)


def sharing():
    total = 0

    async def closure(cell):
        nonlocal total
        total = 0
        for _ in range(2):
            total += await cell.load()
        return total

    return closure


WAYS = [
    sum_of_two, list_in_mid_iteration, same_item_again, zipped, enumerated, backwards, aliased, aliased_in_a_dict,
    keywords, dictionary, growing_set, comprehension, nested, in_a_handler, kept_for_the_handler, maybe_unbound,
    deleted, by_locals, or_else, chained, starred, formatted, walrus, matched, attributes, true_or_one, pops, pushes,
    closes_over, mutable_default, keyword_default, attribute_of_a_function, attribute_of_a_class, random_numbers, dice,
    unknown_object, bound_method, generator, mapped, of_a_dict, array_of_bytes, slices, floats, not_a_number, frozen_true_or_one,
]  # fmt: skip
