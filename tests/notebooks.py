"""The notebooks' outputs, made anew: the extra `[notebooks]`.

    python -m tests.notebooks           # run them, and say which cells print something else than what is committed
    python -m tests.notebooks --write   # run them, and write down what they show

A notebook whose claims are no longer true fails on the way, at its last cell.  What the running kernel does differs from
run to run, so the fourth one's cells always do.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SECONDS = 300
"""How long a cell may take."""


def executed(path):
    """The notebook, run from its first cell to its last, with nothing in it of when and where."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", record_timing=False, resources=resources).execute()
    notebook.metadata = METADATA
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for said in (output, output.get("data", {})):
                said.update({kind: plainly(text) for kind, text in said.items() if isinstance(text, str)})
    return notebook


def plainly(text):
    """With Linux's release by its number alone: what follows it is the machine's own business."""
    release = platform.release()
    number = re.match(r"[0-9.]*[0-9]", release)
    return text.replace(release, number[0]) if number else text


def seen(cell):
    """What a cell shows, pictures apart: these depend on matplotlib's version."""
    shown = [
        sorted((kind, said) for kind, said in {**output, **output.get("data", {})}.items() if kind.startswith("text"))
        for output in cell.get("outputs", ())
    ]
    return re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", repr(shown))


def main(arguments):
    """The exit status: 1 where something differs."""
    import nbformat

    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
    differ = 0
    for path in sorted(FOLDER.glob("*.ipynb")):
        now, before = executed(path), nbformat.read(path, as_version=4)
        if "--write" in arguments:
            nbformat.write(now, path)
            continue
        cells = zip(before.cells, now.cells, strict=True)
        changed = [one["id"] for one, other in cells if seen(one) != seen(other)]
        differ += bool(changed)
        print(f"{path.name}: {', '.join(changed) or 'as committed'}")
    return min(differ, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
