"""The rule that tells content torn within a word of the model from content that the model forbids."""

from __future__ import annotations

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
    ],
)
def test_only_mixtures_of_two_allowed_outcomes_are_torn(seen, torn):
    assert is_torn(seen, ALLOWED) is torn
