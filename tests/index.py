"""The catalogue as a book: `scenarios/README.md`, from what the scenarios say of themselves.

python -m tests.index --write      # which is `make index`
"""

from __future__ import annotations

import sys

from mmsim import catalogue
from mmsim.scenario import LINUX_CARRIES, QUESTIONS
from mmsim.strategies import BY_NAME
from mmsim.verdict import HOLDS, VIOLATED

INDEX = catalogue.folder() / "README.md"
OPENING = "# The scenarios\n\nGenerated from their docstrings by `make index`; the chapters are questions, siblings stand side by side.\n"


def prose(doc):
    """The docstring as one paragraph, without the table of threads."""
    return " ".join(line for line in doc.splitlines() if line and not line.startswith("    "))


def listed(names):
    *most, last = [f"`{name}`" for name in names]
    return f"{', '.join(most)} and {last}" if most else last


def verdicts(scenario):
    """The expectations in words."""
    told = {name: scenario.expected(name, scenario.release, BY_NAME) for name in BY_NAME}
    if scenario.history:
        del told[LINUX_CARRIES]
    violated = [name for name, verdict in told.items() if verdict is VIOLATED]
    holds = [name for name, verdict in told.items() if verdict is HOLDS]
    rest = {True: "every design", False: "all others"}[not violated or not holds]
    words = []
    if violated:
        words.append(f"violated under {listed(violated) if holds else rest}")
    if holds:
        words.append(f"holds under {rest if len(holds) + len(violated) == len(told) else listed(holds)}")
    sentence = "; ".join(words)
    history = [
        f"violated from {release} on" if verdict is VIOLATED else f"holds since {release}"
        for release, verdict in scenario.history.items()
    ]
    parts = [sentence, "Linux: " + ", ".join(history) if history else ""]
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)


def side_by_side(chapter):
    """The scenarios of a chapter, each after the one that it is like."""
    found = {one.name: one for one in chapter}

    def like(one):
        words = [word for word in one.doc.split("`")[1::2] if word in found and word != one.name]
        return one.scenario.sibling if one.scenario.sibling in found else next(iter(words), "")

    order = []

    def take(one):
        if one not in order:
            order.append(one)
            for other in chapter:
                if like(other) == one.name:
                    take(other)

    for one in [*(one for one in chapter if not like(one)), *chapter]:
        take(one)
    return order


def text():
    """The whole book."""
    every = [catalogue.find(name) for name in catalogue.names()]
    parts = [OPENING]
    for key, question in QUESTIONS.items():
        chapter = [one for one in every if one.scenario.question == key]
        if chapter:
            parts.append(f"\n## {question}\n")
        for one in side_by_side(chapter):
            parts.append(f"\n**[{one.name}]({one.name}.py)** {prose(one.doc)} *{verdicts(one.scenario)}*\n")
    return "".join(parts)


if __name__ == "__main__":
    if "--write" in sys.argv:
        INDEX.write_text(text())
    else:
        sys.exit(not INDEX.exists() or text() != INDEX.read_text())
