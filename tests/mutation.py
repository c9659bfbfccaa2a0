"""Mutation testing of the kernel's paths and the strategies: one small mistake at a time, and what notices it.

    python -m tests.mutation --sample 200 --seed 1      # `make mutants ARGS="--sample 200 --seed 1"`
    python -m tests.mutation --only kernel/gup.py       # all of one file

Each mutant is a copy of the tree with one change in `mmsim/kernel/` or `mmsim/strategies/`.  One run on the sane tree
notes which test runs which lines; the copy is then held to those of the sequential tests of the kernel, of the scenes
in tests/mutants/ and of the catalogue (under the designs of the mutated file, or under Linux's own) that run the
mutated statement, the quick ones first.  What passes them all survives and is printed as a diff, with the reason where
EQUIVALENT has one.  A mutant that does not come to an end is noticed as well.  `--record FILE` keeps the notes for
another run on the same tests, `--part 1/5` tries a fifth of the choice.

A sample of 100 of 2742 mutants (seed 2) left 16: 84.0 % noticed.  Four of them change nothing that could be seen
(EQUIVALENT), eleven are noticed since tests/kernel/test_survivors.py and tests/mutants/test_page_cache.py were written:
95 of 96.  The last unlocks a page in ext4_block_truncate_page() before it marks it dirty; no scene tells it yet.

mutmut puts a trampoline around every function, and the engine tells local states by a coroutine's own frame, so a
mutated path would be no path any more; its operators know nothing of a lock left out or of two steps swapped either.
Hence this driver, which edits the text of a copy.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import attrs

from mmsim.scenario import LINUX_CARRIES
from mmsim.strategies import BY_NAME
from tests import coverage

ROOT = Path(__file__).resolve().parent.parent
MUTATED = ("mmsim/kernel", "mmsim/strategies")
COPIED = ("mmsim", "scenarios", "tests", "pyproject.toml")
TESTS = ("tests/kernel", "tests/mutants")
FIRST = 30
"""So many scenes and sequential tests are tried before all the others."""
SECONDS_PER_TEST = 20
"""A search of the catalogue that takes so long in a mutant is a difference."""

OPERATORS = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}

NOBODY_SEES_IT_YET = (
    "the page or inode is not in any slot or table yet, so nobody can tell in which order it was filled"
)
FREED_IS_GONE = "a page that was freed is never handed out again, so who unlocks it late disturbs nobody"
ASKS_AGAIN = "without the wait it looks again at once and finds the same, until what it waits for is there"
WALKERS_NEED_ADDRESSES = (
    "the tree changes in one step; whoever walks an older one finds the entries cleared already, or one that came to "
    "the same address since, which is faulted in again"
)
EQUIVALENT: dict[tuple[str, str, str, str], str] = {
    ("filemap.py", "find_get_page", "step left out", "await spin_while_frozen(page)"): ASKS_AGAIN,
    ("filemap.py", "unlock_and_put", "steps swapped", "await page.lock.release()"): FREED_IS_GONE,
    ("filemap.py", "find_or_create_page", "steps swapped", "await page.mapping.store(mapping)"): NOBODY_SEES_IT_YET,
    ("filemap.py", "find_or_create_page", "steps swapped", "await page.index.store(index)"): NOBODY_SEES_IT_YET,
    ("filemap.py", "find_or_create_page", "steps swapped", "await get_page(page)"): NOBODY_SEES_IT_YET,
    ("filemap.py", "find_or_create_page", "steps swapped", "await put_page(k, page)"): NOBODY_SEES_IT_YET,
    (
        "filemap.py",
        "read_cache_page",
        "step left out",
        "await page.word(number).store(content[number * k.word_size :][: k.word_size])",
    ): "no page of a file leaves the cache but by truncation, which clears the disk: what is read are the zeros that "
    "a new page has",
    ("filemap.py", "generic_file_read", "steps swapped", "await mark_page_accessed(k, page)"): (
        "the reader's own reference is there before and after: the one for the CPU's cache shows in no count earlier "
        "or later that could not be his, and neither step looks at what the other changes"
    ),
    ("gup.py", "try_grab_page", "step left out", "await pin.page.pincount.dec()"): (
        "a pin is refused only of a page that was freed, which fork() meets in no page table"
    ),
    (
        "gup.py",
        "get_user_pages_unlocked",
        "step left out",
        "await mm.pte(address + len(pins) * PAGE_SIZE).wait_until(present)",
    ): ASKS_AGAIN,
    ("memfd.py", "memfd_create", "steps swapped", "await inode.i_mode.store(inode.i_mode.initial & ~ANY_X)"): (
        NOBODY_SEES_IT_YET
    ),
    ("memory_zap.py", "zap_page", "step left out", "await set_page_dirty(old.page)"): (
        "a file system with a disk marks a page dirty before its entry is writable (page_mkwrite), and writeback "
        "takes the mark only after it write-protected the entry: where the entry is dirty, the page is; tmpfs never asks"
    ),
    ("migrate.py", "replace_page_in_cache", "steps swapped", "await new.index.store(index)"): NOBODY_SEES_IT_YET,
    ("mmap.py", "unlink_file_vma", "lock left out", "async with mapping.i_mmap_mutex:"): WALKERS_NEED_ADDRESSES,
    ("mmap.py", "replace_vma", "lock left out", "async with mapping.i_mmap_mutex:"): WALKERS_NEED_ADDRESSES,
    ("page_idle.py", "page_idle_bitmap_read", "step left out", "await page.flags.load()"): (
        "a look whose result nobody uses; the reference is held just as long for others to see"
    ),
    (
        "entry/memory.py",
        "mmap",
        "0 -> 1",
        "self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0, address: int = 0",
    ): ("looked at with MAP_FIXED only, which refuses both"),
}
"""(file below mmsim/kernel/, function, what, its line) of mutants that differ in nothing to be seen, and why."""


@attrs.frozen
class Mutant:
    """Characters `start` to `end` of a file replaced by `new`."""

    path: str
    what: str
    start: int
    end: int
    new: str

    def text(self, root=ROOT):
        """The mutated file."""
        old = (root / self.path).read_text()
        return old[: self.start] + self.new + old[self.end :]

    def diff(self):
        """The change, as a reviewer reads it."""
        old = (ROOT / self.path).read_text()
        lines = difflib.unified_diff(
            old.splitlines(), self.text().splitlines(), f"a/{self.path}", f"b/{self.path}", lineterm="", n=2
        )
        return "\n".join(lines)

    @property
    def place(self):
        """`mmsim/kernel/gup.py:45`."""
        return f"{self.path}:{(ROOT / self.path).read_text().count(chr(10), 0, self.start) + 1}"

    def lines(self):
        """The lines of the statements it changes, or None if they run while the file is imported.

        So do those of a function that remembers its results: what it told one test it tells all.
        """
        source = Source((ROOT / self.path).read_text())
        inside, first, cached = False, 0, False
        for node in ast.walk(source.tree):
            if is_statement(source, node) and source.span(node)[0] <= self.start and self.end <= source.span(node)[1]:
                first = max(first, node.lineno)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    inside |= source.span(node.body[0])[0] <= self.start
                    cached |= any("cache" in source.of(decorator) for decorator in node.decorator_list)
        if not inside or cached:
            return None
        return set(range(first, source.text.count("\n", 0, self.end) + 2))

    @property
    def equivalent(self):
        """Why it cannot be noticed, or None."""
        source = Source((ROOT / self.path).read_text())
        line = source.text.count("\n", 0, self.start)
        around = [
            node
            for node in ast.walk(source.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and source.span(node)[0] <= self.start < source.span(node)[1]
        ]
        function = max(around, key=lambda node: node.lineno).name if around else ""
        file = self.path.removeprefix("mmsim/kernel/")
        return EQUIVALENT.get((file, function, self.what, source.text.splitlines()[line].strip()))


class Source:
    """The text of a file, by the positions of its syntax tree."""

    def __init__(self, text):
        self.text = text
        self.lines = list(itertools.accumulate((len(line) for line in text.splitlines(keepends=True)), initial=0))
        self.tree = ast.parse(text)

    def at(self, line, column):
        start = self.lines[line - 1]
        # columns are counted in bytes
        return start + len(self.text[start : self.lines[line]].encode()[:column].decode())

    def span(self, node):
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno, node.end_col_offset)

    def of(self, node):
        start, end = self.span(node)
        return self.text[start:end]


def is_statement(source, node):
    """Whether it is one that a line can be put before."""
    return isinstance(node, ast.stmt) and not source.of(node).startswith("elif")


def instrumented(path):
    """The text of a file with a call before each statement of a function, that notes the line.

    A tracer would see as much, but in CPython 3.11 it touches the locals that the engine tells states by.
    """
    source = Source((ROOT / path).read_text())
    lines = source.text.splitlines(keepends=True)
    noted = {}
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if node is not function and is_statement(source, node):
                    noted[min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])] = node
    for line, node in noted.items():
        mark = f"{' ' * node.col_offset}{coverage.NOTE}({path!r}, {node.lineno})\n"
        lines[line - 1] = mark + lines[line - 1]
    return "".join(lines)


def mutants_of(path):
    """Every mutant of one file, in the order of its text."""
    source = Source((ROOT / path).read_text())
    found = []
    annotations = {
        id(part)
        for node in ast.walk(source.tree)
        for whole in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if whole is not None
        for part in ast.walk(whole)
    }
    for node in ast.walk(source.tree):
        if id(node) not in annotations:
            found += [Mutant(path, *edit) for edit in edits(source, node)]
    return sorted(set(found), key=lambda mutant: (mutant.start, mutant.end, mutant.new))


def edits(source, node):
    """(what, start, end, new) of every mutation of one node."""
    match node:
        case ast.Compare():
            yield from swapped_operators(source, [node.left, *node.comparators], node.ops)
        case ast.BoolOp():
            yield from swapped_operators(source, node.values, [node.op] * (len(node.values) - 1))
        case ast.BinOp():
            yield from swapped_operators(source, [node.left, node.right], [node.op])
        case ast.UnaryOp(op=ast.Not()):
            start, _ = source.span(node)
            yield "not x -> x", start, start + len("not "), ""
        case ast.Constant(value=bool()):
            yield f"{node.value} -> {not node.value}", *source.span(node), str(not node.value)
        case ast.Constant(value=int()):
            yield f"{node.value} -> {node.value + 1}", *source.span(node), str(node.value + 1)
        case ast.If() | ast.IfExp():
            yield "condition negated", *source.span(node.test), f"(not ({source.of(node.test)}))"
        case ast.Expr(value=ast.Await()):
            yield "step left out", *source.span(node), "pass"
        case ast.AsyncWith() if not any(item.optional_vars for item in node.items):
            yield "lock left out", source.span(node)[0], source.span(node.items[-1].context_expr)[1], "if True"
    for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody")):
        if isinstance(block, list):
            yield from swapped_statements(source, block)


def swapped_operators(source, operands, operators):
    """Each operator in turn, found in the text between its operands."""
    for left, operator, right in zip(operands, operators, operands[1:], strict=False):
        old, new = OPERATORS.get(type(operator), ("", ""))
        start, end = source.span(left)[1], source.span(right)[0]
        found = re.search(
            old.replace(" ", r"\s+") if old.isalpha() or " " in old else re.escape(old), source.text[start:end]
        )
        if old and found:
            yield f"{old} -> {new}", start + found.start(), start + found.end(), new


def swapped_statements(source, block):
    """Each two steps that follow one another, unless the second needs what the first one found."""
    for first, second in itertools.pairwise(block):
        if all(isinstance(each, ast.Expr | ast.Assign | ast.AugAssign) and awaits(each) for each in (first, second)):
            stored = {n.id for n in ast.walk(first) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            if not stored & {n.id for n in ast.walk(second) if isinstance(n, ast.Name)}:
                start, middle = source.span(first)
                after, end = source.span(second)
                swapped = source.of(second) + source.text[middle:after] + source.of(first)
                yield "steps swapped", start, end, swapped


def awaits(node):
    return any(isinstance(part, ast.Await) for part in ast.walk(node))


def all_mutants(only=""):
    """Every mutant of every file whose path has `only` in it."""
    paths = sorted(str(path.relative_to(ROOT)) for top in MUTATED for path in (ROOT / top).rglob("*.py"))
    return [mutant for path in paths if only in path for mutant in mutants_of(path)]


def designs_of(path):
    """The designs of the catalogue that a file of mmsim/strategies/ is part of; Linux's own for the kernel."""
    module = path.removesuffix(".py").replace("/", ".")
    named = [
        name
        for name, strategy in BY_NAME.items()
        if any(getattr(value, "__module__", "") == module for value in attrs.asdict(strategy, recurse=False).values())
    ]
    return named if named and "/strategies/" in path else [LINUX_CARRIES]


class Tree:
    """A copy of the sources in which mutants live, one after the other."""

    def __init__(self, folder):
        self.folder = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, self.folder / name)

    def run(self, arguments, designs, seconds=None, **environment):
        """`killed`, `survived` or `timeout`, and what pytest said."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=line", "-p", "no:cacheprovider"]
        command += ["-p", "mmsim.pytest_plugin", "-p", "tests.coverage", f"--mmsim-max-seconds={SECONDS_PER_TEST}"]
        command += [f"--mmsim-strategy={design}" for design in designs] + arguments
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(self.folder)}
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd=self.folder,
                env={**os.environ, **alone, **environment},
                timeout=seconds,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired:
            return "timeout", ""
        if done.returncode not in {0, 1, 2, 4}:  # passed, failed, not even imported, a test not even made
            msg = f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            raise SystemExit(msg)
        return "killed" if done.returncode else "survived", done.stdout

    def record(self, target):
        """Run everything on the sane tree, and write down which test runs which lines."""
        paths = {mutant.path for mutant in all_mutants()}
        for path in paths:
            (self.folder / path).write_text(instrumented(path))
        word, output = self.run([*TESTS, "scenarios"], [LINUX_CARRIES], **{coverage.RECORD: str(target)})
        if word != "survived":
            msg = f"the tests fail without any mutation:\n{output}"
            raise SystemExit(msg)
        for path in paths:
            (self.folder / path).write_text((ROOT / path).read_text())

    def judge(self, mutant, record):
        """The tests that run the mutated lines: the quick ones first, then the rest."""
        target = self.folder / mutant.path
        target.write_text(mutant.text())
        limits, listed = self.folder / "limits", self.folder / "listed"
        limits.write_text(json.dumps({test: 20 + 5 * seconds for test, (seconds, _) in record.items()}))
        seeing = sorted(tests_seeing(mutant, record), key=lambda test: record[test][0])
        scenes = [test for test in seeing if test.startswith("tests/mutants/")][:FIRST]
        first = scenes + [test for test in seeing if test.startswith("tests/kernel/")][:FIRST]
        rest = [test for test in seeing if test not in first]
        designs = designs_of(mutant.path)
        if designs != [LINUX_CARRIES]:
            rest = [test for test in rest if not test.startswith("scenarios/")] + ["scenarios"]
        word = "survived"
        try:
            for tests in (first, rest):
                if tests and word == "survived":
                    listed.write_text("\n".join(tests))
                    seconds = 120 + 6 * sum(record[test][0] for test in tests if test in record)
                    word, _ = self.run([f"@{listed}"], designs, seconds, **{coverage.LIMITS: str(limits)})
            return word
        finally:
            target.write_text((ROOT / mutant.path).read_text())


def tests_seeing(mutant, record):
    """The tests that run a mutated line, all of them if importing the file runs it."""
    lines = mutant.lines()
    return [
        test for test, (_, seen) in record.items() if lines is None or not lines.isdisjoint(seen.get(mutant.path, ()))
    ]


def judge_all(mutants, jobs, kept):
    """(mutant, what became of it), each as soon as it and those before it are done."""
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        trees = SimpleQueue()
        for number in range(jobs):
            trees.put(Tree(f"{folder}/{number}"))
        target = Path(kept or f"{folder}/record")
        if not target.exists():
            tree = trees.get()
            tree.record(target)
            trees.put(tree)
        record = json.loads(target.read_text())

        def judge(mutant):
            tree = trees.get()
            try:
                return mutant, tree.judge(mutant, record)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(judge, mutants)


def main():
    options = argparse.ArgumentParser(prog="make mutants", description="What the tests notice of small mistakes.")
    options.add_argument("--sample", type=int, help="so many mutants, chosen by chance; all if not given")
    options.add_argument("--seed", type=int, default=0, help="where the choice starts from")
    options.add_argument("--only", default="", metavar="PATH", help="files whose path has this in it")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    options.add_argument("--record", metavar="FILE", help="which test runs which lines; made if it is not there")
    options.add_argument("--part", metavar="N/M", default="1/1", help="the Nth of M parts of the choice")
    options.add_argument("--list", action="store_true", help="name the mutants and try none")
    chosen = options.parse_args()
    mutants = all_mutants(chosen.only)
    whole = len(mutants)
    if chosen.sample is not None and chosen.sample < whole:
        picked = set(random.Random(chosen.seed).sample(mutants, chosen.sample))
        mutants = [mutant for mutant in mutants if mutant in picked]
    number, parts = map(int, chosen.part.split("/"))
    mutants = mutants[number - 1 :: parts]
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.place}  {mutant.what}")
        return
    survivors = []
    for mutant, word in judge_all(mutants, chosen.jobs, chosen.record):
        print(f"{word:8}  {mutant.place}  {mutant.what}", flush=True)
        if word == "survived":
            survivors.append(mutant)
    told = [mutant for mutant in survivors if mutant.equivalent]
    for mutant in survivors:
        print(f"\n{mutant.diff()}" + (f"\nequivalent: {mutant.equivalent}" if mutant.equivalent else ""))
    killed, counted = len(mutants) - len(survivors), len(mutants) - len(told)
    print(
        f"\n{killed} of {counted} mutants noticed ({100 * killed / max(counted, 1):.1f} %), {len(told)} equivalent ones"
    )
    print(f"{len(mutants)} of {whole} mutants tried, seed {chosen.seed}")


if __name__ == "__main__":
    main()
