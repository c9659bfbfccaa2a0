"""The test command of `make mutants`: runs the tests that see the change in a tree, the quick ones first.

    python -m tests.mutant_tests TREE       # below the folder that has `sane/` and `record.json`

Ends with 0 if they all pass, with 1 if one notices, with UNUSABLE if pytest itself could not run.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import attrs

from mmsim.scenario import LINUX_CARRIES
from mmsim.strategies import BY_NAME
from tests import coverage

MUTATED = ("mmsim/kernel", "mmsim/strategies")
TESTS = ("tests/kernel", "tests/mutants")
FIRST = 30
"""So many scenes and sequential tests are tried before all the others."""
SECONDS_PER_TEST = 20
"""A search of the catalogue that takes so long in a mutant is a difference."""
PASSED, NOTICED, UNUSABLE = 0, 1, 3


def sources(tree):
    """The files that mutants are made of, as paths in the tree."""
    return sorted(str(path.relative_to(tree)) for top in MUTATED for path in (tree / top).rglob("*.py"))


def run(tree, arguments, designs, seconds=None, **environment):
    """PASSED, NOTICED or UNUSABLE, and what pytest said; a run that does not come to an end is noticed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
    command += ["-p", "mmsim.pytest_plugin", "-p", "tests.coverage", f"--mmsim-max-seconds={SECONDS_PER_TEST}"]
    command += [f"--mmsim-strategy={design}" for design in designs] + arguments
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tree)}
    started_by, began = os.getppid(), time.monotonic()
    with subprocess.Popen(
        command,
        cwd=tree,
        env={**os.environ, **alone, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pytest:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                said, _ = pytest.communicate(timeout=1)
                break
            late = seconds is not None and time.monotonic() - began > seconds
            if late or os.getppid() != started_by:  # who waited for this was stopped by Ctrl-C
                pytest.kill()
                return NOTICED, "it does not come to an end"
    # passed; failed, not even imported, a test not even made; no test that sees it is left to run
    return {0: PASSED, 1: NOTICED, 2: NOTICED, 4: NOTICED, 5: PASSED}.get(pytest.returncode, UNUSABLE), said


def designs_of(path):
    """The designs of the catalogue that a file of mmsim/strategies/ is part of; Linux's own for the kernel."""
    module = path.removesuffix(".py").replace("/", ".")
    named = [
        name
        for name, strategy in BY_NAME.items()
        if any(getattr(value, "__module__", "") == module for value in attrs.asdict(strategy, recurse=False).values())
    ]
    return named if named and "/strategies/" in path else [LINUX_CARRIES]


def change(sane, tree):
    """(path, the sane text, its lines that another tree has otherwise)."""
    for path in sources(sane):
        old, new = ((root / path).read_text() for root in (sane, tree))
        if old != new:
            spans = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False).get_opcodes()
            changed = {line + 1 for tag, i, j, _, _ in spans if tag != "equal" for line in range(i, max(j, i + 1))}
            return path, old, changed
    msg = f"{tree} has no mutant in it"
    raise SystemExit(msg)


def seeing(record, path, lines):
    """The tests that run one of these lines, all of them if importing the file runs it; the quick ones first."""
    found = [test for test, (_, seen) in record.items() if lines is None or not lines.isdisjoint(seen.get(path, ()))]
    return sorted(found, key=lambda test: record[test][0])


def judge(tree):
    """Run them, until one notices."""
    path, text, changed = change(tree.parent / "sane", tree)
    record = json.loads((tree.parent / "record.json").read_text())["tests"]
    tests = seeing(record, path, coverage.noted(text, changed))
    limits, listed = tree / "limits.json", tree / "listed"
    limits.write_text(json.dumps({test: 20 + 5 * seconds for test, (seconds, _) in record.items()}))
    first = [test for test in tests if test.startswith("tests/mutants/")][:FIRST]
    first += [test for test in tests if test.startswith("tests/kernel/")][:FIRST]
    rest = [test for test in tests if test not in first]
    designs = designs_of(path)
    if designs != [LINUX_CARRIES]:  # the record is of Linux's design alone
        rest = [test for test in rest if not test.startswith("scenarios/")] + ["scenarios"]
    for chosen in (first, rest):
        if chosen:
            listed.write_text("\n".join(chosen))
            seconds = 120 + 6 * sum(record[test][0] for test in chosen if test in record)
            if "scenarios" in chosen:
                seconds = None  # each test has its own limit
            word, said = run(tree, [f"@{listed}"], designs, seconds, **{coverage.LIMITS: str(limits)})
            if word != PASSED:
                print(said)
                return word
    return PASSED


if __name__ == "__main__":
    sys.exit(judge(Path(sys.argv[1])))
