"""The rule that tells content torn within a word of the model from content that the model forbids."""

from __future__ import annotations

from signal import Signals

import attrs
import pytest

from mmsim.conformance.torn import is_torn


@attrs.frozen
class Seen:
    sealed: int
    first: bytes
    second: bytes


OLD, NEW = b"old." * 1024, b"new!" * 1024
TORN = NEW[:1000] + OLD[1000:]


def outcome(sealed, first, second):
    return (("reader", 4096), ("sealer", Seen(sealed, first, second)))


ALLOWED = (
    outcome(-16, OLD, OLD),
    outcome(-16, OLD, NEW),
    outcome(-16, NEW, NEW),
    outcome(0, NEW, NEW),
)


@pytest.mark.parametrize(
    ("seen", "torn"),
    [
        (outcome(-16, TORN, NEW), True),
        (outcome(-16, OLD, TORN), True),
        (outcome(-16, NEW[:8] + OLD[8:64] + NEW[64:], NEW), True),  # reader and writer overtook each other twice
        (outcome(0, TORN, NEW), False),  # a sealed file that changed
        (outcome(0, OLD, NEW), False),
        (outcome(-16, NEW[:1002] + OLD[1002:], NEW), False),  # no CPU tears eight bytes
        (outcome(-16, b"????" * 1024, NEW), False),
        (outcome(-16, TORN[:-8], NEW), False),
        ((("reader", -14), ("sealer", Seen(-16, TORN, NEW))), False),
        (outcome(-16, TORN, TORN), True),
    ],
)
def test_only_mixtures_of_two_allowed_outcomes_are_torn(seen, torn):
    assert is_torn(seen, ALLOWED) is torn


def stored(signals, sealed, first, second):
    return (("writer", signals), ("sealer", Seen(sealed, first, second)))


FAULT = Signals.SIGSEGV
STORES = (
    stored((FAULT, FAULT), 0, OLD, OLD),
    stored((None, FAULT), 0, NEW, NEW),
    stored((None, FAULT), -16, OLD, NEW),
)


@pytest.mark.parametrize(
    ("seen", "torn"),
    [
        (stored((FAULT, FAULT), 0, TORN, TORN), True),  # the store was cut short by the unmapping
        (stored((FAULT, FAULT), 0, OLD, TORN), False),  # a sealed file that changed
        (stored((FAULT, FAULT), 0, TORN, NEW), False),
        (stored((FAULT, FAULT), 0, OLD, NEW), False),
        (stored((None, FAULT), 0, TORN, TORN), False),  # a store that went through leaves nothing old
        (stored((FAULT, FAULT), -16, TORN, TORN), False),
        (stored((FAULT, None), 0, TORN, TORN), False),
    ],
)
def test_a_store_that_faults_may_be_cut_short(seen, torn):
    assert is_torn(seen, STORES) is torn


def test_two_stable_contents_do_not_excuse_one_that_changes():
    allowed = (outcome(0, OLD, OLD), outcome(0, NEW, NEW))
    assert not is_torn(outcome(0, OLD, NEW), allowed)
    assert not is_torn(outcome(0, TORN, NEW), allowed)
    assert is_torn(outcome(0, TORN, TORN), allowed)
