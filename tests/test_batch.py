"""Many tests at a time: what takes longest begins first, nothing waits for what hangs, answers come in their order."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import ClassVar

import pytest

from mmsim import batch, jobs
from mmsim.store import Store


class Silent:
    """A meter that remembers."""

    told: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, title):
        self.title = title

    def __call__(self, progress):
        raise AssertionError

    def tests(self, done, wanted):
        self.told.append((done, wanted))

    def end(self):
        pass


def task(name, key="k"):
    return batch.Task(name, "sealing_v2", None, batch.Options(), name, key)


def answered(name, **more):
    return batch.Answer(name, {"seconds": 1.0, "reused": False}, 0, **more)


@pytest.fixture
def begun(monkeypatch):
    """Threads in place of processes, and the names of the tasks in the order in which they were handed out."""
    order = []

    class Pool(concurrent.futures.ThreadPoolExecutor):
        def submit(self, function, one, *rest):
            order.append(one.scenario)
            return super().submit(function, one, *rest)

    monkeypatch.setattr(jobs, "Processes", Pool)
    return order


def test_the_longest_begins_first_and_answers_keep_their_order(begun, monkeypatch):
    monkeypatch.setattr(batch, "answer", lambda one, *_rest: answered(one.scenario))
    Silent.told.clear()
    tasks = [task(name) for name in ("short", "new", "kept", "long")]
    known = [None, None, answered("kept", reused=True), None]
    found = list(batch.carry_out(batch.Batch(tasks, known, [1.0, None, 2.0, 30.0]), 2, Silent))
    assert begun == ["new", "long", "short"]
    assert [one.text for one in found] == ["short", "new", "kept", "long"]
    assert Silent.told == [(2, 4), (3, 4), (4, 4)]


def test_one_that_hangs_holds_up_nobody(begun, monkeypatch):
    others_done = threading.Event()
    done = []

    def answer(one, *_rest):
        if one.scenario == "hangs":
            assert others_done.wait(30)
        else:
            done.append(one.scenario)
            if len(done) == 4:
                others_done.set()
        return answered(one.scenario)

    monkeypatch.setattr(batch, "answer", answer)
    tasks = [task(name) for name in ("hangs", "a", "b", "c", "d")]
    found = list(batch.carry_out(batch.Batch(tasks, [None] * 5, [9.0, 1, 1, 1, 1]), 2, Silent))
    assert [one.text for one in found] == ["hangs", "a", "b", "c", "d"]


def test_each_answer_is_kept_as_soon_as_it_is_there(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setattr(batch, "judged", lambda one, _progress: one)
    monkeypatch.setattr(batch, "put", lambda one, _options: answered(one.scenario, complete=one.scenario != "partial"))
    tasks = [task("whole"), task("partial"), task("sample", key="")]
    batches = batch.carry_out(batch.recall(tasks, store), 1, Silent, store)
    next(batches)
    again = batch.recall(tasks, store)
    assert [one is not None and one.reused for one in again.known] == [True, False, False]
    list(batches)
    assert [one is not None for one in batch.recall(tasks, store).known] == [True, False, False]
    assert batch.recall(tasks, None).known == [None, None, None]


def test_how_long_it_took_is_believed_of_an_answer_to_another_question(tmp_path):
    store = Store(tmp_path)
    store.put("a", "k", {"text": "", "json": {}, "status": 0}, 7.5)
    store.path("b").write_text("{")
    recalled = batch.recall([task("a", key="other"), task("b")], store)
    assert (recalled.known, recalled.seconds, recalled.damaged) == ([None, None], [7.5, None], 1)
