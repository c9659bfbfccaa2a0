"""What was found by hand on Linux 6.18, as scenarios: the kernel answers so today, the model allows it, and the
comparison finds out a model that answers otherwise.
"""

from __future__ import annotations

import attrs
import pytest

from mmsim.check import Test, check
from mmsim.conformance import needs
from mmsim.conformance.entry import RealSyscalls
from mmsim.conformance.run import Session, judge
from mmsim.conformance.stir import Answers, Timing
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.releases import release_named
from mmsim.strategies import BY_NAME
from mmsim.syscalls import EACCES, PAGE_SIZE, SIGBUS, SIGSEGV, fill
from mmsim.verdict import Holds
from tests.conformance.machine import sample

pytestmark = pytest.mark.usefixtures("scratch")

MODULES = ("cases", "holders", "filesystems")
TOO_MANY_STATES = "eight_pages"
CASES = [(module, case.__name__) for module in MODULES for case in sample(module).expected]


def model_outcomes(scenario, release="v6.18.44"):
    verdict = check(Test("sample", scenario, BY_NAME["wait_for_pins"], release_named(release), "", ("sample", "x")))
    assert isinstance(verdict, Holds), verdict
    return verdict.outcomes


def as_found_by_hand(module, result):
    return result.skipped or dict(result.observed[0][0]) == {
        case.__name__: expected for case, expected in sample(module).expected.items()
    }


@pytest.fixture(scope="module")
def answers():
    """What every case returned: all cases of a file at once, with devices that answer last.

    On a machine that is busy a seal's 150 ms may be over before it is seen to wait; then it is tried again.
    """
    seen = {name: [] for name in MODULES}
    with Session() as session:
        for name, results in seen.items():
            scenario = sample(name).together
            while len(results) < 3 and not (results and as_found_by_hand(name, results[-1])):
                results.append(session.perform(scenario, Timing(answers=Answers.HELD), range(1)))
    return seen


@pytest.mark.kernel
@pytest.mark.parametrize(("module", "case"), CASES)
def test_what_was_found_by_hand_is_so_and_is_in_the_model(module, case, answers):
    files = sample(module)
    function = getattr(files, case)
    expected = files.expected[function]
    allowed = model_outcomes(files.alone[case]) if case != TOO_MANY_STATES else [((case, expected),)]
    assert ((case, expected),) in allowed
    found = []
    for result in answers[module]:
        if result.skipped:
            pytest.skip(result.skipped)
        ((outcome, count),) = result.observed
        alone = attrs.evolve(result, observed=((((case, dict(outcome)[case]),), count),))
        assert judge(files.alone[case], alone, allowed).agrees
        found.append(dict(outcome)[case])
    if "6.18.44" in result.release:
        assert expected in found


def test_every_verb_is_performed_or_refused_for_ever():
    assert {verb for verb in needs.VERBS if not hasattr(RealSyscalls, verb)} == set(needs.NEVER)
    assert {verb for verb in needs.VERBS if not hasattr(SimSyscalls, verb)} == set()


# Wrong answers planted in the simulator: each kind has to be found out.  The kernel is asked once.


def unfaithful(right, change):
    async def verb(self, *arguments, **options):
        return change(await right(self, *arguments, **options))

    return verb


PLANTED = [
    ("errno", "immutable", "pwrite", lambda answer: -EACCES if answer == -1 else answer),
    ("count", "immutable", "pwrite", lambda answer: answer - 1 if answer == PAGE_SIZE else answer),
    ("success for a refusal", "on_tmpfs", "remount", lambda answer: 0),
    ("refusal for a success", "on_ext4", "remount", lambda answer: -16),
    ("content of a file", "on_tmpfs", "pread", lambda answer: fill(b"evil")),
    ("content of a disk", "immutable", "disk_contents", lambda answer: fill(b"orig")),
    ("content of memory", "read_only_memory", "load", lambda answer: fill(b"evil")),
    ("signal", "immutable", "store", lambda answer: SIGSEGV if answer is SIGBUS else answer),
    ("no signal", "minor_faults", "store", lambda answer: None),
    ("forced write", "read_only_memory", "mem_write", lambda answer: PAGE_SIZE),
    ("forced read", "read_only_memory", "mem_read", lambda answer: b"x"),
    ("other process", "read_only_memory", "process_vm_writev", lambda answer: PAGE_SIZE),
    ("protection", "read_only_memory", "mprotect", lambda answer: 0),
    ("fault resolved", "missing_pages", "uffd_copy", lambda answer: PAGE_SIZE),
    ("fault told", "minor_faults", "uffd_register", lambda answer: 0),
    ("buffer", "registered_buffer", "unregister_buffer", lambda answer: 0),
    ("seal", "registered_buffer", "add_seals", lambda answer: 0),
    ("advice", "not_needed", "madvise", lambda answer: -22),
    ("migration", "not_needed", "compact_memory", lambda answer: -11),
    ("opening", "on_tmpfs", "open", lambda answer: answer if answer > 0 else -1),
]


@pytest.mark.kernel
@pytest.mark.parametrize(("kind", "case", "verb", "change"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_wrong_answer_of_the_model_is_found_out(kind, case, verb, change, answers, monkeypatch):
    module = next(module for module, name in CASES if name == case)
    result = answers[module][-1]
    if result.skipped:
        pytest.skip(result.skipped)
    scenario = sample(module).alone[case]
    ((outcome, count),) = result.observed
    alone = attrs.evolve(result, observed=((((case, dict(outcome)[case]),), count),))
    monkeypatch.setattr(SimSyscalls, verb, unfaithful(getattr(SimSyscalls, verb), change))
    verdict = check(
        Test("planted", scenario, BY_NAME["wait_for_pins"], release_named("v6.18.44"), "", ("planted", "x"))
    )
    assert verdict.outcomes
    judged = judge(scenario, alone, verdict.outcomes)
    assert judged.impossible == (alone.observed[0][0],)
    assert not judged.agrees
