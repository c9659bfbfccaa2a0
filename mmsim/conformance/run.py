"""Run a scenario on the running kernel, and compare what it does with what the model allows.

Everything happens in a worker process (`mmsim.conformance.worker`) in a scratch directory of its own; a
crash of what is tested is a sentence here.  `conform` performs the calls of the scenario and nothing else: it asks
whether the model allows what the kernel does, never whether the kernel could be made to do something worse.

Threads that return addresses or process numbers differ from the model without need; nothing is normalised.  Content
torn within a word of the model is told apart by the one rule in `mmsim.conformance.torn`.
"""

from __future__ import annotations

import io
import os
import pickle
import platform
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from mmsim.conformance.needs import refusal
from mmsim.conformance.probe import Probe
from mmsim.conformance.stir import Timing, cast_of
from mmsim.conformance.torn import is_torn
from mmsim.conformance.worker import SCENARIO_MODULE, ProbeRequest, ProgramsRequest, Request
from mmsim.errors import UserError
from mmsim.verdict import WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mmsim.conformance.controller import Pickled
    from mmsim.scenario import Scenario
    from mmsim.verdict import Outcome

SEEDS_APART = 1_000_003
MODEL_ONLY: Final = "this scenario is for the model only and is never run on a real kernel (model_only = True)"
LANES = 12
"""Instances of a scenario that run at once unless told otherwise."""


@attrs.frozen
class ConformanceResult:
    """What the kernel was seen to do, beside what the model allows."""

    release: str
    """The kernel's, as `uname -r` prints it."""
    runs: int
    """Completed runs."""
    observed: tuple[tuple[Outcome, int], ...] = ()
    """Each outcome and how often it was seen, most often first."""
    possible: int = 0
    """How many outcomes the model allows, those apart in which a device stays silent and which were not seen."""
    seen: int = 0
    """How many of these were seen."""
    impossible: tuple[Outcome, ...] = ()
    """Observed outcomes that the model does not allow."""
    torn: tuple[Outcome, ...] = ()
    """Observed outcomes that mix two allowed ones within a word of the model: see `mmsim.conformance.torn`."""
    unseen: tuple[Outcome, ...] = ()
    """Outcomes that the model allows and the kernel never showed."""
    silent: tuple[Outcome, ...] = ()
    """Outcomes of the model in which a device stays silent for ever; here every device answers in the end."""
    stuck: tuple[str, ...] = ()
    """A sentence for each run that did not end."""
    skipped: str | None = None
    """Why nothing was run."""
    interrupted: bool = False
    """Whether Ctrl-C ended it early."""
    seconds: float = 0.0
    """How long the runs took."""

    @property
    def agrees(self) -> bool:
        """Whether every run ended as the model allows (`torn` excused).  A skipped comparison agrees with nothing."""
        return self.runs > 0 and not (self.impossible or self.stuck or self.skipped)


def probe() -> Probe:
    """What the running kernel and the present privileges allow."""
    with tempfile.TemporaryDirectory(prefix="mmsim-") as scratch, Worker(ProbeRequest(scratch)) as worker:
        _, found = worker.next_message()
        assert isinstance(found, Probe)
        return found


def run_once(scenario: Scenario, timing: Timing | None = None) -> Outcome:
    """One run of the scenario's own file, stirred like this.  UserError: refused, impossible here, crashed or stuck."""
    timing = timing or Timing()
    with Session() as session:
        result = session.perform(scenario, timing, range(timing.seed, timing.seed + 1))
    if result.skipped or result.stuck:
        raise UserError(result.skipped or result.stuck[0])
    if not result.observed:
        raise KeyboardInterrupt
    return result.observed[0][0]


def refuse_model_only(scenario: Scenario) -> None:
    """Raise UserError for a scenario that is never to be run on a real kernel."""
    if scenario.model_only:
        raise UserError(MODEL_ONLY)


def judge(scenario: Scenario, result: ConformanceResult, allowed: Collection[Outcome]) -> ConformanceResult:
    """What the kernel did, held against what the model reaches (of copies of a process, in any order)."""
    if result.skipped:
        return result
    likeness = cast_of(scenario).likeness
    possible = {likeness(outcome) for outcome in allowed}
    seen = {likeness(outcome) for outcome, _ in result.observed}
    unseen = [outcome for outcome in allowed if likeness(outcome) not in seen]
    silent = [outcome for outcome in unseen if any(value is WAITING for _, value in outcome)]
    strange = [outcome for outcome, _ in result.observed if likeness(outcome) not in possible]
    torn = tuple(outcome for outcome in strange if is_torn(outcome, allowed))
    return attrs.evolve(
        result,
        possible=len(possible) - len({likeness(outcome) for outcome in silent}),
        seen=len(possible & seen),
        impossible=tuple(outcome for outcome in strange if outcome not in torn),
        torn=torn,
        unseen=tuple(outcome for outcome in unseen if outcome not in silent),
        silent=tuple(silent),
    )


def conform(
    scenario: Scenario,
    allowed: Collection[Outcome] | None = None,
    runs: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    seconds: float | None = None,
    timing: Timing | None = None,
    lanes: int = LANES,
    session: Session | None = None,
) -> ConformanceResult:
    """Run the scenario so many times (or seconds, if they are over sooner) and judge each outcome.

    `allowed` is what the model reaches; None only counts.  `timing` is how runs are stirred, each with a seed of its
    own made from `seed`.  `progress` is called with (runs completed, runs wanted).  A `session` saves a start.
    UserError: the scenario may only run in the model, is not in a file of its own, or its program failed.
    """
    seeds = range(seed * SEEDS_APART, seed * SEEDS_APART + runs)
    with nullcontext(session) if session is not None else Session() as asked:
        result = asked.perform(scenario, timing or Timing(), seeds, min(lanes, runs), seconds, progress)
    return result if allowed is None else judge(scenario, result, allowed)


class Session:
    """A worker that runs one scenario after the other.  A context: nothing of it is left behind."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mmsim-", ignore_cleanup_errors=True)
        self._worker: Worker | None = None
        self._asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._end_worker()
        finally:
            self._scratch.cleanup()

    def perform(
        self,
        scenario: Scenario,
        timing: Timing,
        seeds: range,
        lanes: int = 1,
        seconds: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> ConformanceResult:
        """Count the outcomes of a run for each seed.  See `conform`."""
        refuse_model_only(scenario)
        release = platform.release()
        refused = refusal(scenario)
        if refused is not None:
            return ConformanceResult(release, 0, skipped=refused)
        file, module, name = _home(scenario)
        path = tuple(str(Path(entry).resolve()) for entry in sys.path)
        self._asked += 1
        scratch = str(Path(self._scratch.name) / str(self._asked))
        request = Request(file, module, name, path, timing, seeds, scratch, max(lanes, 1), seconds)
        began = time.monotonic()
        if self._worker is None:
            self._worker = Worker(request)
        else:
            self._worker.ask(request)
        try:
            return self._listen(self._worker, scenario, release, began, len(seeds), progress)
        except BaseException:
            self._end_worker()  # what it would say next is no answer to what is asked next
            raise
        finally:
            if self._worker is not None and self._worker.interrupted:
                self._end_worker()

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    @staticmethod
    def _listen(
        worker: Worker,
        scenario: Scenario,
        release: str,
        began: float,
        wanted: int,
        progress: Callable[[int, int], None] | None,
    ) -> ConformanceResult:
        while True:
            try:
                match worker.next_message():
                    case ("progress", done) if progress is not None:
                        progress(done, wanted)
                    case ("impossible", sentence):
                        return ConformanceResult(release, 0, skipped=sentence)
                    case ("error", sentence):
                        raise UserError(sentence)
                    case ("result", observed, stuck):
                        return ConformanceResult(
                            release=release,
                            runs=sum(observed.values()),
                            observed=_unpickled(scenario, observed),
                            stuck=tuple(stuck),
                            interrupted=worker.interrupted,
                            seconds=time.monotonic() - began,
                        )
            except KeyboardInterrupt:
                worker.interrupt()


def _home(scenario: Scenario) -> tuple[str, str, str]:
    """The scenario's file, its module's name, and its own name there."""
    home = scenario.setup.__globals__
    file = home.get("__file__")
    name = next((name for name, value in home.items() if _same(value, scenario)), None)
    if file is None or name is None:
        msg = "a real kernel runs a scenario from its own file: it must be a name in the module that defines its setup"
        raise UserError(msg)
    return str(Path(file).resolve()), home["__name__"], name


def _same(value: object, scenario: Scenario) -> bool:
    """Whether this is the scenario, whatever the catalogue has made of the names of its strategies."""
    return isinstance(value, type(scenario)) and attrs.evolve(value, expect=scenario.expect) == scenario


class _Unpickler(pickle.Unpickler):
    """Values of a scenario's own classes become values of the classes that the session has."""

    def __init__(self, data: bytes, scenario: Scenario) -> None:
        super().__init__(io.BytesIO(data))
        self._home = scenario.setup.__globals__

    def find_class(self, module: str, name: str) -> Any:
        if module not in {SCENARIO_MODULE, self._home["__name__"]}:
            return super().find_class(module, name)
        first, *rest = name.split(".")
        found = self._home[first]
        for attribute in rest:
            found = getattr(found, attribute)
        return found


def _unpickled(scenario: Scenario, observed: Counter[Pickled]) -> tuple[tuple[Outcome, int], ...]:
    counts: Counter[Outcome] = Counter()
    for pickled, count in observed.items():
        counts[tuple((name, _Unpickler(data, scenario).load()) for name, data in pickled)] += count
    return tuple(counts.most_common())


class Worker:
    """The worker process: asked, then listened to.  Ctrl-C asks it for what it has so far."""

    def __init__(self, request: Request | ProbeRequest | ProgramsRequest) -> None:
        self.interrupted = False
        self._heard = b""
        self._request = pickle.dumps(request)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        command = [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {_START}"]
        self._process = subprocess.Popen(  # noqa: S603  (this interpreter, this package)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End of input, at which it ends; if it does not, it is killed, and its mounts and processes with it."""
        self._close_input()
        if self._process.stdout:
            self._process.stdout.close()  # or it might wait for somebody to listen to it
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def ask(self, request: object) -> None:
        """Ask once more, which only those may be who wait for it."""
        self._ask()
        self._request = pickle.dumps(request)
        self._ask()

    def next_message(self, patience_s: float | None = None) -> tuple[Any, ...]:
        """What it says next.  UserError if it has ended instead, or says nothing for so long."""
        self._ask()
        answers = self._process.stdout
        assert answers is not None
        while not self._complete():
            if not select.select([answers], [], [], patience_s)[0]:
                msg = f"the worker on the running kernel has not answered for {patience_s:g} s"
                raise UserError(msg)
            more = os.read(answers.fileno(), 1 << 16)
            if not more:
                msg = f"the worker that runs the scenario {self._how_it_ended()}"
                raise UserError(msg)
            self._heard += more
        end = _LENGTH + int.from_bytes(self._heard[:_LENGTH], "little")
        message: tuple[Any, ...] = pickle.loads(self._heard[_LENGTH:end])  # noqa: S301  (from the worker started here)
        self._heard = self._heard[end:]
        return message

    def interrupt(self) -> None:
        """Ask it for what it has so far; the second time, give up."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._close_input()

    def _complete(self) -> bool:
        return len(self._heard) >= _LENGTH + int.from_bytes(self._heard[:_LENGTH], "little")

    def _ask(self) -> None:
        question, self._request = self._request, b""
        if question and self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.write(len(question).to_bytes(_LENGTH, "little") + question)
                self._process.stdin.flush()

    def _how_it_ended(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"was ended by {signal.Signals(-status).name}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"ended without a result{f': {lines[-1]}' if lines else f' (exit status {status})'}"

    def _close_input(self) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


_START = "from mmsim.conformance.worker import main; main()"
_LENGTH = 8  # bytes before each message, that say how long it is
