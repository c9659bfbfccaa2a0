"""The notebooks as they are committed: with their outputs, made in order and in one go, and nobody's machine in them."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MACHINE = re.compile(r"/(?:root|home|work|tmp|usr|opt|var)/|site-packages|ipykernel_|\bpid\b|localhost|0x7f[0-9a-f]{8}")
LARGEST = 800_000


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell["outputs"]]


def text_of(output):
    """All that a reader sees of an output, pictures apart."""
    parts = [output.get("text", ""), *(output.get("data", {}).get(kind, "") for kind in ("text/plain", "text/html"))]
    whole = "\n".join("".join(part) for part in parts)
    return re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", whole)


def test_there_are_four():
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_every_cell_was_run_once_in_order(self, path):
        counted = [cell["execution_count"] for cell in code(read(path))]
        assert counted == list(range(1, len(counted) + 1))

    def test_no_cell_failed_and_none_complained(self, path):
        for output in outputs(read(path)):
            assert output["output_type"] in {"stream", "execute_result", "display_data"}
            assert output.get("name") != "stderr", text_of(output)

    def test_it_shows_what_it_talks_about(self, path):
        shown = [output.get("data", {}) for output in outputs(read(path))]
        assert any("text/html" in data for data in shown)
        silent = [cell["id"] for cell in code(read(path)) if not cell["outputs"]]
        assert set(silent) <= {"imports", "checked"}

    def test_nobody_s_machine_is_in_it(self, path):
        notebook = read(path)
        for output in outputs(notebook):
            assert not MACHINE.search(text_of(output)), MACHINE.search(text_of(output))
        for cell in notebook["cells"]:
            assert not MACHINE.search("".join(cell["source"]))
            assert not set(cell["metadata"])
        assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"

    def test_it_reads_as_an_essay(self, path):
        cells = read(path)["cells"]
        assert cells[0]["cell_type"] == "markdown"
        assert "".join(cells[0]["source"]).startswith("# ")
        assert all(one["cell_type"] == "markdown" or other["cell_type"] == "markdown" for one, other in pairwise(cells))
        assert cells[-1]["id"] == "checked"  # its claims, as assertions
        assert "assert " in "".join(cells[-1]["source"])
        assert len({cell["id"] for cell in cells}) == len(cells)

    def test_it_is_not_large(self, path):
        assert path.stat().st_size < LARGEST
