"""Kept results: damage is seen, another question is not answered, many writers do no harm."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from mmsim.store import Kept, Store, checksum

ANSWER = {"text": "Ok", "json": {"seconds": 0.5, "verdict": "Holds"}, "status": 0}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def file(store):
    store.put("race", "k1", ANSWER, 0.5)
    return store.path("race")


def rewrite(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_what_was_put_is_got(store, file):
    assert store.get("race", "k1") == Kept(ANSWER, 0.5)
    assert [one.name for one in store.folder.iterdir()] == [file.name]


def test_another_question_has_no_answer_but_took_about_as_long(store, file):
    assert store.get("race", "k2") == Kept(None, 0.5)


def test_nothing_is_known_of_what_was_never_put(store):
    assert store.get("race", "k1") == Kept()


def test_the_newest_answer_replaces_the_one_before(store, file):
    store.put("race", "k2", {"text": "No"}, 9.0)
    assert store.get("race", "k2") == Kept({"text": "No"}, 9.0)
    assert store.get("race", "k1") == Kept(None, 9.0)
    assert len(list(store.folder.iterdir())) == 1


DAMAGE = {
    "cut short": lambda file: file.write_text(file.read_text()[:-20]),
    "empty": lambda file: file.write_text(""),
    "no text": lambda file: file.write_bytes(b"\xff\xfe\x00"),
    "no object": lambda file: file.write_text("[1, 2]"),
    "a number": lambda file: file.write_text("7"),
    "nested too deeply": lambda file: file.write_text("[" * 100_000),
    "one byte": lambda file: file.write_text(file.read_text().replace("Holds", "Hodls")),
    "another key": lambda file: rewrite(file, lambda content: content.update(key="k2")),
    "another time": lambda file: rewrite(file, lambda content: content.update(seconds="soon")),
    "no checksum": lambda file: rewrite(file, lambda content: content.pop("checksum")),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen(store, file, damage):
    DAMAGE[damage](file)
    assert store.get("race", "k1") == Kept(damaged=True)
    assert store.get("race", "k2") == Kept(damaged=True)


def test_another_format_is_not_read_even_if_it_is_whole(store, file):
    def older(content):
        content["format"] = 0
        content["checksum"] = checksum(content)

    rewrite(file, older)
    assert store.get("race", "k1") == Kept(damaged=True)


def test_the_answer_of_another_test_is_not_taken(store, file):
    store.path("other").write_text(file.read_text())
    assert store.get("other", "k1") == Kept(damaged=True)


def test_damage_is_mended_by_the_next_answer(store, file):
    file.write_text("{")
    store.put("race", "k1", ANSWER, 0.5)
    assert store.get("race", "k1") == Kept(ANSWER, 0.5)


WRITER = """
import sys
from pathlib import Path
from mmsim.store import Store
store = Store(Path(sys.argv[1]))
for number in range(100):
    store.put("race", "k1", {"text": sys.argv[2] * 5000, "number": number}, 1.0)
    kept = store.get("race", "k1")
    assert not kept.damaged and kept.answer is not None, kept
    assert len(set(kept.answer["text"])) == 1
"""


def test_several_processes_write_at_once(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, letter], stderr=subprocess.PIPE, text=True)
        for letter in "abc"
    ]
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 3
    assert len(list(tmp_path.iterdir())) == 1
