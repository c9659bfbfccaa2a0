"""The catalogue loads, every scenario in it is well formed, and a mistake in a file is one sentence that says where."""

from __future__ import annotations

import functools
import importlib.resources
import pickle
import sys
from pathlib import Path

import pytest

from mmsim import catalogue
from mmsim.errors import UserError
from mmsim.scenario import LINUX_CARRIES, Scenario, copies, process
from mmsim.strategies import BY_NAME
from mmsim.syscalls import Device
from mmsim.verdict import HOLDS, UNASKED, VIOLATED

STRATEGIES = tuple(BY_NAME)

every_scenario = pytest.mark.parametrize("name", catalogue.names())


@every_scenario
def test_a_scenario_loads_and_says_what_it_is_about(name: str) -> None:
    loaded = catalogue.find(name, STRATEGIES)
    assert loaded.name == name
    assert loaded.path.name == f"{name}.py"
    assert loaded.source == loaded.path.read_text()
    assert loaded.summary.endswith(".")
    for thread in catalogue.thread_names(loaded.scenario):
        assert f"\n    {thread.partition('[')[0]} " in loaded.doc, "the docstring says what each thread does"


@every_scenario
def test_a_scenario_asks_something_and_expects_an_answer_of_every_strategy(name: str) -> None:
    scenario = catalogue.find(name).scenario
    assert scenario.always or scenario.sometimes
    assert scenario.sometimes, "a scenario in which nothing is granted proves nothing"
    unasked = {design for design, verdict in scenario.expect.items() if verdict is UNASKED}
    asked = set(BY_NAME) - unasked
    assert all(scenario.expected(design, scenario.release, BY_NAME) or scenario.history for design in asked)


def some_design_fails(scenario: Scenario) -> bool:
    return VIOLATED in (*scenario.expect.values(), *scenario.history.values())


@every_scenario
def test_a_scenario_has_a_strategy_that_fails_or_a_sibling_that_has_one(name: str) -> None:
    scenario = catalogue.find(name).scenario
    assert some_design_fails(scenario) != bool(scenario.sibling)
    assert not scenario.sibling or some_design_fails(catalogue.find(scenario.sibling).scenario)


@every_scenario
def test_a_docstring_names_only_scenarios_that_exist(name: str) -> None:
    words = [word for word in catalogue.find(name).doc.split("`")[1::2] if word.isidentifier()]
    assert set(words) - {"i_mmap_writable", "_refcount", "_mapcount", "sealed"} <= set(catalogue.names())


@every_scenario
def test_what_linux_gets_wrong_is_kept_from_real_kernels(name: str) -> None:
    scenario = catalogue.find(name).scenario
    broken = scenario.expected(LINUX_CARRIES, scenario.release, BY_NAME) is VIOLATED
    assert scenario.model_only or not (broken or scenario.history)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_race_scales_to_any_number_of_users(count: int) -> None:
    make = sys.modules[catalogue.find("users_and_a_sealer").scenario.setup.__module__].make
    scenario: Scenario = make(count)
    assert len(catalogue.thread_names(scenario)) == count + 1
    catalogue.check(scenario, "here", STRATEGIES)


def test_the_shipped_catalogue_comes_before_the_one_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert catalogue.folder().name == "scenarios"
    (tmp_path / "_scenarios").mkdir()
    write(tmp_path / "_scenarios", GOOD, "only_one.py")
    (tmp_path / "_scenarios" / "_helper.py").touch()
    monkeypatch.setattr(importlib.resources, "files", lambda _package: tmp_path)
    assert catalogue.names() == ("only_one",)
    assert catalogue.find("only_one").path == tmp_path / "_scenarios" / "only_one.py"


# Files of the user's own.

GOOD = '''
"""A good one.

    reader    does nothing
"""

from mmsim.scenario import *
from mmsim.syscalls import *
from mmsim.verdict import *

async def setup(sys): ...
async def reader(sys, shared): ...
async def sealer(sys, shared): ...
def fine(sealer): return True

scenario = Scenario(setup=setup, threads=(reader, sealer), always=(fine,), expect={"sealing_v2": HOLDS})
'''


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text.lstrip("\n"))
    return path


def refusal(path: Path | str) -> str:
    with pytest.raises(UserError) as caught:
        catalogue.find(str(path), STRATEGIES)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_of_the_users_own_needs_no_installing(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    before = list(sys.path)
    loaded = catalogue.find(str(path), STRATEGIES)
    assert (loaded.name, loaded.path, loaded.summary) == ("mine", path, "A good one.")
    assert loaded.doc.splitlines()[-1] == "reader    does nothing"
    assert sys.path == before
    assert not (tmp_path / "__pycache__").exists()


def test_a_file_is_found_from_the_folder_it_lies_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    assert catalogue.find("mine.py").scenario.setup.__code__.co_filename == "mine.py"
    assert refusal("mine") == "no scenario is named 'mine'; `mmsim list scenarios` names them all"


def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "FOUR = 4\n", "beside_the_scenario.py")
    write(tmp_path, GOOD.replace("async def setup", "from beside_the_scenario import FOUR\nasync def setup"))
    assert catalogue.find(str(tmp_path / "mine.py")).name == "mine"
    del sys.modules["beside_the_scenario"]


def test_files_of_one_name_do_not_replace_each_other_and_outcomes_can_be_pickled(tmp_path: Path) -> None:
    text = GOOD + "import dataclasses\n@dataclasses.dataclass(frozen=True)\nclass Seen:\n    sealed: 'int'\n"
    modules = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        path = write(folder, text)
        modules.append(sys.modules[catalogue.find(str(path)).scenario.setup.__module__])
    for module in modules:
        assert pickle.loads(pickle.dumps(module.Seen(3))) == module.Seen(3)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert refusal("dio_complets_after_seal") == (
        "no scenario is named 'dio_complets_after_seal'; did you mean 'dio_completes_after_seal'?"
    )
    assert refusal("zzz") == "no scenario is named 'zzz'; `mmsim list scenarios` names them all"


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "mien.py"
    assert refusal(missing) == f"there is no scenario file '{missing}'"
    write(tmp_path, GOOD)
    assert refusal(missing) == f"there is no scenario file '{missing}'; did you mean '{tmp_path / 'mine.py'}'?"


def test_a_folder_and_a_file_that_is_not_python(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"the scenario file '{tmp_path}' cannot be read: Is a directory"
    other = write(tmp_path, GOOD, "mine.txt")
    assert refusal(other) == f"the scenario file '{other}' is not a Python file"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\nimport nowhere_to_be_found\n", 2, "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("x = 1\n\nx = = 2\n", 3, "SyntaxError: invalid syntax"),
        ("def f():\n    return 1 // 0\nf()\n", 2, "ZeroDivisionError: integer division or modulo by zero"),
        ("from mmsim.syscalls import fill\nfill(b'abc')\n", 2, "ValueError: a fill pattern must have a length that"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("raise ValueError('two\\nlines')\n", 1, "ValueError: two"),
        ("raise KeyError\n", 1, "KeyError"),
    ],
)
def test_a_file_that_does_not_import(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = write(tmp_path, text)
    modules = set(sys.modules)
    assert refusal(path).startswith(f"{path}, line {line}: the scenario file does not import: {said}")
    assert set(sys.modules) == modules


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(b"x = '\xff'\n")
    assert refusal(path).startswith(f"{path}: the scenario file does not import: SyntaxError: ")


def test_a_file_that_failed_leaves_the_one_loaded_before_alone(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    module = sys.modules[catalogue.find(str(path)).scenario.setup.__module__]
    write(tmp_path, "1 // 0\n")
    refusal(path)
    assert sys.modules[module.__name__] is module


def test_a_file_without_a_scenario(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("scenario = Scenario", "scenaro = Scenario"))
    assert refusal(path) == f"{path} has no value named `scenario`; did you mean to call 'scenaro' so?"
    path = write(tmp_path, "x = 1\n")
    assert refusal(path) == (f"{path} has no value named `scenario`; its last statement is `scenario = Scenario(...)`")


def test_a_scenario_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "scenario = {}\n")
    assert refusal(path) == f"{path}: `scenario` is a dict, not a Scenario; write `scenario = Scenario(setup=..., ...)`"


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        (
            '{"sealing_v2": HOLDS}',
            '{"sealing_v3": HOLDS}',
            "{path}: `expect` has a verdict for 'sealing_v3', which is no strategy; did you mean 'sealing_v2'?",
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{"q": HOLDS}',
            (
                "{path}: `expect` has a verdict for 'q', which is no strategy; "
                f"there are {', '.join(sorted(STRATEGIES))}"
            ),
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{"sealing_v2": "Holds"}',
            "{path}: `expect` has 'Holds' for 'sealing_v2'; write HOLDS or VIOLATED, from mmsim.verdict",
        ),
        (
            '{"sealing_v2": HOLDS}',
            "{setup: HOLDS}",
            "{path}: `expect` has a function as a key; it maps names of strategies to HOLDS or VIOLATED",
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{}, question="seals"',
            "{path}: `question` is 'seals', which is no chapter of the catalogue; did you mean 'seal'?",
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{}, history={"v4.8": VIOLATED}',
            "{path}: `history` has no HOLDS; it says from which release on there is a bug, and since when none",
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{}, release="v4.89"',
            "{path}: `release` has 'v4.89', which is no release that mmsim knows; did you mean 'v4.9'?",
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{}, mounts=(Mount("a"), Mount("a"))',
            "{path}: `mounts` has two file systems named 'a'; rename one",
        ),
        (
            '{"sealing_v2": HOLDS}',
            '{}, mounts=(Mount("a", "ext3"),)',
            "{path}: the mount 'a' is of the kind 'ext3', which mmsim does not know; did you mean 'ext4'?",
        ),
        (
            '{"sealing_v2": HOLDS}',
            "HOLDS",
            "{path}: `expect` is an Expected; it maps names of strategies to HOLDS or VIOLATED",
        ),
        (
            "def fine(sealer)",
            "def fine(seeler)",
            "{path}, line 13: the property 'fine' asks for 'seeler', which is no thread; did you mean 'sealer'?",
        ),
        (
            "def fine(sealer)",
            "def fine(x)",
            "{path}, line 13: the property 'fine' asks for 'x', which is no thread; there are reader, sealer",
        ),
        (
            "def fine(sealer)",
            "def fine()",
            "{path}, line 13: the property 'fine' has no parameters; name one for each thread whose outcome it judges",
        ),
        (
            "def fine(sealer)",
            "def fine(*sealer)",
            "{path}, line 13: the property 'fine' takes `*sealer`; its parameters are plain names of threads",
        ),
        (
            "def fine(sealer)",
            "async def fine(sealer)",
            "{path}, line 13: the property 'fine' is not a plain function; use `def`, it only judges outcomes",
        ),
        (
            "always=(fine,)",
            "always=(lambda sealer: True,)",
            "{path}, line 15: a property in `always` is a lambda; use `def`, for a property's name is its message",
        ),
        (
            "always=(fine,)",
            "always=fine",
            "{path}: `always` is a function, not a tuple; with one member it is written `always=(one,)`",
        ),
        (
            "always=(fine,)",
            "sometimes=(True,)",
            "{path}: `sometimes` has a bool; a property is a plain function of what the threads returned",
        ),
        (
            "async def reader",
            "def reader",
            "{path}, line 11: the thread 'reader' is not an `async def` function",
        ),
        (
            "async def setup",
            "def setup",
            "{path}, line 10: the setup 'setup' is not an `async def` function",
        ),
        (
            "async def setup(sys)",
            "async def setup()",
            "{path}, line 10: the setup 'setup' cannot be called as it will be; write `async def setup(sys)`",
        ),
        (
            "async def reader(sys, shared)",
            "async def reader(sys)",
            (
                "{path}, line 11: the thread 'reader' cannot be called as it will be; "
                "write `async def reader(sys, shared)`"
            ),
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader(None, None), sealer)",
            "{path}: the thread 'reader' has been called already; give the function itself",
        ),
        (
            "threads=(reader, sealer)",
            "threads=('reader', sealer)",
            "{path}: the thread is a str, not an `async def` function",
        ),
        (
            "threads=(reader, sealer)",
            "threads=reader",
            "{path}: `threads` is a function, not a tuple; with one member it is written `threads=(one,)`",
        ),
        (
            "threads=(reader, sealer)",
            "threads=()",
            "{path}: `threads` is empty; a scenario has at least one thread",
        ),
        (
            "threads=(reader, sealer)",
            "threads=(sealer, sealer)",
            (
                "{path}, line 12: the thread 'sealer' has a name that is taken already by the thread; "
                "threads alike are `copies(n, ...)`"
            ),
        ),
        (
            "threads=(reader, sealer)",
            "threads=(sealer,), children=(sealer,)",
            (
                "{path}, line 12: the child 'sealer' has a name that is taken already by the thread; "
                "threads alike are `copies(n, ...)`"
            ),
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, copies(2, sealer))",
            "{path}, line 13: the property 'fine' asks for 'sealer', which has copies; judge another thread",
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, copies(0, sealer))",
            "{path}: a process has 0 copies of 1 threads; one at least",
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, sealer), devices=(Device('sda1'),)",
            (
                "{path}: the device 'sda1' has a name that ends in a digit, "
                "which a schedule could not tell from a count; rename it"
            ),
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, sealer), devices=(Device('sealer'),)",
            (
                "{path}: the device 'sealer' has a name that is taken already by the thread; "
                "threads alike are `copies(n, ...)`"
            ),
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, sealer), devices=('slow',)",
            "{path}: `devices` has a str, not a Device; write `SLOW = Device('slow')`",
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, sealer), words_per_page=3",
            "{path}: `words_per_page` is 3; it must be a power of two, at most 4096",
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, sealer), evicts='no'",
            "{path}: `evicts` is 'no'; it is True or False",
        ),
        (
            "threads=(reader, sealer)",
            "threads=(reader, sealer), shmem_huge=1",
            "{path}: `shmem_huge` is 1; it is True or False",
        ),
    ],
)
def test_a_scenario_that_cannot_be_run(tmp_path: Path, good: str, bad: str, said: str) -> None:
    assert good in GOOD
    path = write(tmp_path, GOOD.replace(good, bad))
    assert refusal(path) == said.format(path=path)


def test_a_name_that_ends_in_a_digit(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("reader", "reader2"))
    assert refusal(path) == (
        f"{path}, line 11: the thread 'reader2' has a name that ends in a digit, "
        "which a schedule could not tell from a count; rename it"
    )


def test_a_thread_that_is_a_partial() -> None:
    async def reader(_sys: object, _shared: object) -> None: ...

    async def setup(_sys: object) -> None: ...

    with pytest.raises(UserError, match="here: the thread is a partial, not an `async def` function"):
        catalogue.check(Scenario(setup=setup, threads=(functools.partial(reader),)), "here")


def test_threads_are_named_in_the_order_of_the_file() -> None:
    async def setup(_sys: object) -> None: ...

    async def reader(_sys: object, _shared: object) -> None: ...

    async def user(_sys: object, _shared: object) -> None: ...

    async def child(_sys: object, _shared: object) -> None: ...

    scenario = Scenario(setup=setup, threads=(process(reader), copies(2, user)), children=(child,))
    assert catalogue.thread_names(scenario) == ("reader", "user[0]", "user[1]", "child")
    catalogue.check(scenario, "here")


def test_a_device_of_every_copy_may_be_a_device_of_the_scenario_too() -> None:
    async def setup(_sys: object) -> None: ...

    async def user(_sys: object, _shared: object) -> None: ...

    slow = Device("slow")
    catalogue.check(Scenario(setup=setup, threads=(copies(2, user, devices=(slow,)),), devices=(slow,)), "here")


def test_expectations_are_not_judged_without_strategies_to_judge_them_by(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("sealing_v2", "anything"))
    assert catalogue.find(str(path)).scenario.expect == {"anything": HOLDS}
