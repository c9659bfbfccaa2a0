"""Running ahead without events changes nothing: the same run with an event in front of every step's end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mmsim.cells import Mutex, RwSem, SpinLock, World
from mmsim.steps import cond_resched, sleep
from mmsim.threads import Machine, Thread
from mmsim.timed import Fixed
from mmsim.timed.driver import TimedRun
from mmsim.timed.recorder import Recorder
from mmsim.timed.summary import summary
from tests.timed.toys import device, done

ACTIONS = ["inc", "load", "spin", "mutex", "read", "write", "sleep", "resched", "ask", "irqsave"]
programs = st.lists(st.lists(st.sampled_from(ACTIONS), max_size=6), min_size=1, max_size=5)


def build(program):
    world = World()
    counter = world.cell("counter", 0)
    spin, mutex, sem = (
        world.lock(SpinLock, "spin"),
        world.lock(Mutex, "mutex"),
        world.lock(RwSem, "sem"),
    )
    request = world.cell("disk.request", "none")

    def thread(index, actions):
        async def run():
            seen = []
            for action in actions:
                held = {"spin": spin, "mutex": mutex, "read": sem.read(), "write": sem, "irqsave": spin.irqsave()}
                if action in held:
                    async with held[action]:
                        seen.append(await counter.load())
                        await counter.inc()
                elif action == "sleep":
                    await sleep(7 * (index + 1))
                elif action == "resched":
                    await cond_resched()
                elif action == "ask":
                    await request.store("asked")
                    seen.append(await request.wait_until_timeout(done))
                elif action == "inc":
                    await counter.inc()
                else:
                    seen.append(await counter.load())
            return tuple(seen)

        return Thread(f"t[{index}]", run)

    return Machine(world, (*(thread(i, actions) for i, actions in enumerate(program)), device(world)))


def run(program, cpus, costs, *, metronome):
    def cost(step, cpu, _now, _context):
        return costs[(len(step.word) + cpu) % len(costs)]

    timed = TimedRun(build(program), cpus, 3, cost, {"disk": Fixed(40)}, 6_000, Recorder(), 500)
    if metronome:

        def beat():
            while True:
                yield timed.timeout(1)

        timed.process(beat())
    timed.run_to_end()
    return summary(timed, interrupted=False)


@settings(deadline=None)  # a busy machine
@given(programs, st.integers(1, 4), st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_running_ahead_is_exact(program, cpus, costs):
    ahead = run(program, cpus, costs, metronome=False)
    step_by_step = run(program, cpus, costs, metronome=True)
    assert ahead == step_by_step


@settings(deadline=None)  # a busy machine
@given(programs, st.integers(1, 4))
def test_time_and_cells_are_consistent(program, cpus):
    result = run(program, cpus, [10], metronome=False)
    times = [step.time_ns for step in result.timeline]
    assert times == sorted(times)
    values = {}
    for step in result.timeline:
        if step.cell == "counter":
            assert values.get("counter", 0) == step.old
            values["counter"] = step.new
    assert sum(result.busy_ns) <= cpus * result.end_ns
