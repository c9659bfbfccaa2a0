"""Mutation testing of the kernel's paths and the strategies: one small mistake at a time, and what notices it.

    python -m tests.mutation --sample 200 --seed 1      # `make mutants ARGS="--sample 200 --seed 1"`
    python -m tests.mutation --only kernel/gup.py       # all of one file
    python -m tests.mutation --steps                    # steps and locks left out, steps swapped

cosmic-ray makes the mutants, keeps the session and tells the outcomes; tests/mutation_operators.py has the mistakes
that it lacks.  Everything happens in copies of the tree, in `.mutants/`.  One run on the sane copy notes which test
runs which lines, so that a mutant is held to those tests alone that run its lines (tests/mutant_tests.py): the
sequential tests of the kernel, the scenes in tests/mutants/ and the catalogue, under the designs of the mutated file
or under Linux's own.  Interrupted, it goes on from there as long as no source has changed.

What passes all its tests survives and is printed as a diff.  tests/mutants/accepted.toml names the survivors that
differ in nothing to be seen, or are put up with, and why; an entry of it that fits no mutant is an error.

Not used: cosmic-ray's `exec` runs one mutant at a time in the tree it stands in, and its distributors find operators
by the entry points of installed packages; so its mutate_and_test() is called here, for each copy.  mutmut 3 was tried
as well: it runs, for its trampoline awaits the path's own coroutine, but no operator can be added to it.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import functools
import hashlib
import json
import os
import random
import shutil
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

import attrs
from cosmic_ray import plugins
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test, mutate_code
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem

from mmsim.scenario import LINUX_CARRIES
from tests import coverage, mutation_operators
from tests.mutant_tests import MUTATED, PASSED, TESTS, run, sources

ROOT = Path(__file__).resolve().parent.parent
ACCEPTED = Path("tests/mutants/accepted.toml")
COPIED = ("mmsim", "scenarios", "tests", "pyproject.toml")
SECONDS = 3600
"""For one mutant, whatever its tests say; each of them has its own limit."""

mutation_operators.offer()


@attrs.frozen
class Mutant:
    """One of cosmic-ray's mutations, in words that outlive an edit elsewhere in its file."""

    spec = attrs.field()

    @property
    def path(self):
        return str(self.spec.module_path)

    @property
    def what(self):
        return self.spec.operator_name.partition("/")[2]

    @property
    def place(self):
        """`mmsim/kernel/gup.py:45`."""
        return f"{self.path}:{self.spec.start_pos[0]}"

    @property
    def order(self):
        return self.path, self.spec.start_pos, self.spec.operator_name, self.spec.occurrence

    @property
    def change(self):
        """What accepted.toml knows it by: file, function, its first line, and what that line becomes."""
        old = text(self.path)
        new = mutate_code(old, plugins.get_operator(self.spec.operator_name)(), self.spec.occurrence)
        line = self.spec.start_pos[0] - 1
        function = self.spec.definition_name or ""
        return self.path, function, old.splitlines()[line].strip(), new.splitlines()[line].strip()


@functools.cache
def text(path):
    return (ROOT / path).read_text()


@functools.cache
def annotated(path):
    """(first, last) position of each annotation: nobody evaluates it, so no mutant of it differs."""
    return [
        ((whole.lineno, whole.col_offset), (whole.end_lineno, whole.end_col_offset))
        for node in ast.walk(ast.parse(text(path)))
        for whole in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if whole is not None
    ]


def all_mutants(only="", *, steps=False):
    """Every mutant of every file whose path has `only` in it; `steps` leaves the domain's own."""
    paths = [path for path in sources(ROOT) if only in path]
    with use_db(":memory:") as database:
        init([Path(path) for path in paths], database, {})
        found = [Mutant(mutation) for item in database.work_items for mutation in item.mutations]
    return sorted(
        (
            each
            for each in found
            if (each.spec.operator_name in mutation_operators.STEPS or not steps)
            and not any(first <= each.spec.start_pos < last for first, last in annotated(each.path))
        ),
        key=lambda each: each.order,
    )


def accepted(mutants):
    """{change: why} of tests/mutants/accepted.toml; SystemExit names the entries that fit no mutant of these files."""
    entries = {
        (each["file"], each["function"], each["line"], each["becomes"]): each["why"]
        for each in tomllib.loads((ROOT / ACCEPTED).read_text())["accepted"]
    }
    places = {(file, line) for file, _, line, _ in entries}
    lines = {path: text(path).splitlines() for path in {each.path for each in mutants}}
    there = {
        each.change for each in mutants if (each.path, lines[each.path][each.spec.start_pos[0] - 1].strip()) in places
    }
    gone = [entry for entry in entries if entry[0] in lines and entry not in there]
    if gone:
        names = "\n".join(f"  {file}: {function}(): {line}  ->  {becomes}" for file, function, line, becomes in gone)
        msg = f"{ACCEPTED} accepts what is no mutant any more; take these entries out or mend them:\n{names}"
        raise SystemExit(msg)
    return entries


def digest():
    """Of all that a mutant's fate depends on."""
    found = hashlib.sha256()
    for name in COPIED:
        for path in sorted((ROOT / name).rglob("*.*")) if (ROOT / name).is_dir() else [ROOT / name]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()


def copy_to(tree):
    """A new copy of the sources."""
    shutil.rmtree(tree, ignore_errors=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)


def record(folder, sources_digest):
    """Run everything on a sane copy, and write down which test runs which lines, unless that is known already."""
    target, sane = folder / "record.json", folder / "sane"
    if target.exists() and json.loads(target.read_text())["sources"] == sources_digest:
        return
    print("Which test runs which lines?  (some minutes)", flush=True)
    for path in sources(sane):
        (sane / path).write_text(coverage.instrumented(path, text(path)))
    noted = folder / "noted.json"
    word, said = run(sane, [*TESTS, "scenarios"], [LINUX_CARRIES], **{coverage.RECORD: str(noted)})
    if word != PASSED:
        msg = f"the tests fail without any mutation:\n{said}"
        raise SystemExit(msg)
    target.write_text(json.dumps({"sources": sources_digest, "tests": json.loads(noted.read_text())}))
    for path in sources(sane):
        (sane / path).write_text(text(path))


class Session:
    """A folder with the copies, the record, and cosmic-ray's database of mutants and outcomes."""

    def __init__(self, folder, jobs):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"{folder} is in use by another run; wait for it, or name another --folder"
            raise SystemExit(msg) from None
        self.digest = digest()
        self.trees = SimpleQueue()
        for name in ("sane", *(f"tree{number}" for number in range(jobs))):
            copy_to(folder / name)
            if name != "sane":
                self.trees.put(folder / name)
        self.jobs = jobs
        os.chdir(folder / "sane")  # where the test command is found: who edits the tree meanwhile changes nothing

    def name(self, mutant):
        """Its job_id, which another session on the same sources gives it as well."""
        path, (line, column), operator, occurrence = mutant.order
        return f"{self.digest[:16]} {path}:{line}:{column} {operator} {occurrence}"

    def judge(self, item):
        """What cosmic-ray finds of one mutant, in a tree of its own."""
        tree = self.trees.get()
        try:
            here = [attrs.evolve(each, module_path=tree / each.module_path) for each in item.mutations]
            command = f"'{sys.executable}' -m tests.mutant_tests '{tree}'"
            result = mutate_and_test(here, command, SECONDS)
        finally:
            self.trees.put(tree)
        if result.worker_outcome != WorkerOutcome.NORMAL or "INTERNALERROR" in result.output:
            msg = f"{item.job_id} could not be tried:\n{result.output}"
            raise SystemExit(msg)
        return attrs.evolve(result, diff=result.diff.replace(f"{tree}/", "").partition("\n")[2])

    def outcomes(self, mutants):
        """(mutant, result) of each, those of an earlier run first."""
        with use_db(str(self.folder / "session.sqlite"), WorkDB.Mode.create) as database:
            known = {item.job_id for item in database.work_items}
            if not all(name.startswith(self.digest[:16]) for name in known):
                database.clear()
                known = set()
            wanted = {self.name(each): each for each in mutants}
            items = {name: WorkItem.single(name, each.spec) for name, each in wanted.items()}
            database.add_work_items(item for name, item in items.items() if name not in known)
            results = {name: result for name, result in database.results if name in wanted}
            for name, result in results.items():
                yield wanted[name], result
            left = [item for name, item in items.items() if name not in results]
            if left:
                record(self.folder, self.digest)
            with ThreadPoolExecutor(self.jobs) as pool:
                started = {pool.submit(self.judge, item): item.job_id for item in left}
                try:
                    for done in as_completed(started):
                        database.set_result(started[done], done.result())
                        yield wanted[started[done]], done.result()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise


def positive(word):
    number = int(word)
    if number < 1:
        msg = f"has to be at least 1, and is {number}"
        raise argparse.ArgumentTypeError(msg)
    return number


def parsed():
    options = argparse.ArgumentParser(prog="make mutants", description="What the tests notice of small mistakes.")
    options.add_argument("--sample", type=positive, help="so many mutants, chosen by chance; all if not given")
    options.add_argument("--seed", type=int, default=0, help="where the choice starts from")
    options.add_argument("--only", default="", metavar="PATH", help="files whose path has this in it")
    options.add_argument("--steps", action="store_true", help="only steps and locks left out and steps swapped")
    options.add_argument("--jobs", type=positive, default=os.cpu_count(), help="how many at a time")
    options.add_argument("--folder", type=Path, default=ROOT / ".mutants", help="for the copies and the session")
    options.add_argument("--list", action="store_true", help="name the mutants and try none")
    chosen = options.parse_args()
    if not any(chosen.only in path for path in sources(ROOT)):
        options.error(f"--only {chosen.only!r} is in no path below {' and '.join(MUTATED)}")
    return chosen


def told(outcomes, reasons, whole, seed):
    """Print each outcome as it comes, then the survivors and the score."""
    tried, survivors = 0, []
    for mutant, result in outcomes:
        tried += 1
        print(f"{result.test_outcome.value:8}  {mutant.place}  {mutant.what}", flush=True)
        if result.test_outcome == TestOutcome.SURVIVED:
            survivors.append((mutant, result))
    for mutant, result in sorted(survivors, key=lambda each: each[0].order):
        why = reasons.get(mutant.change)
        print(f"\n{result.diff}" + (f"\naccepted: {why}" if why else ""))
    put_up_with = sum(mutant.change in reasons for mutant, _ in survivors)
    noticed, counted = tried - len(survivors), tried - put_up_with
    share = 100 * noticed / max(counted, 1)
    print(f"\n{noticed} of {counted} mutants noticed ({share:.1f} %), {put_up_with} accepted beside them")
    print(f"{tried} of {whole} mutants tried, seed {seed}")


def main():
    chosen = parsed()
    os.chdir(ROOT)
    mutants = all_mutants(chosen.only, steps=chosen.steps)
    whole = len(mutants)
    reasons = accepted(mutants if not chosen.steps else all_mutants(chosen.only))
    if chosen.sample is not None and chosen.sample < whole:
        mutants = sorted(random.Random(chosen.seed).sample(mutants, chosen.sample), key=lambda each: each.order)
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.place}  {mutant.what}")
        return
    try:
        told(Session(chosen.folder.resolve(), chosen.jobs).outcomes(mutants), reasons, whole, chosen.seed)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(130)  # the tests under way see that nobody waits for them, and end as well


if __name__ == "__main__":
    main()
