"""The model and its translation to Promela, without any reduction: the same states, the same transitions.

What SPIN counts is written down here, so that a kernel path which gains or loses a step shows where there is no SPIN;
then `benchmarks/memfd_seal.pml` has to follow (benchmarks/README.md).
"""

from __future__ import annotations

import pytest

from benchmarks.spin import PLAIN, UNMERGED, pan, pan_made, spin_reason
from mmsim.check.judge import Test
from mmsim.check.run import tables_of
from mmsim.engine.search import explore
from mmsim.kernel.releases import V3_17
from mmsim.strategies import BY_NAME
from scenarios.users_and_a_sealer import make

COUNTED = {(1, "sealing_v2"): (1_532, 3_710), (1, "wait_for_pins"): (1_876, 4_615)}
"""(users, strategy): states and transitions of SPIN's verifier, which counts the initial state as a transition more."""

each = pytest.mark.parametrize(("users", "strategy"), COUNTED)


@each
def test_the_model_has_as_many_states_as_its_translation(users, strategy):
    tables, properties = tables_of(Test("translated", make(users), BY_NAME[strategy], V3_17))
    found = explore(tables, resting=properties.resting)
    assert (found.states, found.transitions + 1) == COUNTED[users, strategy]


@pytest.mark.slow
@pytest.mark.skipif(bool(spin_reason()), reason=spin_reason())
@each
def test_spin_counts_them_so(users, strategy, tmp_path):
    _, where = pan_made(users, strategy, tmp_path, UNMERGED, PLAIN)
    _, count = pan(where, 60, "-c0")
    assert (count.states, count.transitions) == COUNTED[users, strategy]
