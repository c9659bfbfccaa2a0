"""HTML for notebooks: tables, badges, texts in columns.

Everything is built as a tree of elements, so that no value can be taken for markup.  Styles stand beside what they
style, in colours that let the notebook's own theme, light or dark, shine through; nothing is fetched from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element, tostring  # only made here, nothing is parsed

Node = Element | str

TINTS: Final = {
    "good": "rgba(46,160,67,0.22)",
    "bad": "rgba(248,81,73,0.28)",
    "expected": "rgba(219,139,40,0.26)",
    "open": "rgba(130,110,230,0.24)",
    "": "transparent",
}
"""Backgrounds: what holds, what is not as it should be, a violation that was expected, what is not decided."""
LINE: Final = "1px solid rgba(128,128,128,0.35)"
CELL: Final = f"text-align:left;vertical-align:top;padding:2px 10px 2px 6px;border-bottom:{LINE}"
MONOSPACE: Final = "font-family:ui-monospace,monospace;font-size:92%"
PRE: Final = f"{MONOSPACE};white-space:pre;overflow-x:auto;line-height:1.25;margin:6px 0;padding:0;background:none"
FADED: Final = "opacity:0.75;font-size:90%"


def element(tag: str, *content: Node, style: str = "", **attributes: str) -> Element:
    """An element with texts and elements in it."""
    made = Element(tag, {**attributes, **({"style": style} if style else {})})
    last: Element | None = None
    for one in content:
        if isinstance(one, Element):
            made.append(one)
            last = one
        elif last is None:
            made.text = (made.text or "") + one
        else:
            last.tail = (last.tail or "") + one
    return made


def rendered(*nodes: Node) -> str:
    """The fragment as text."""
    return tostring(element("div", *nodes), encoding="unicode", method="html")


def badge(word: str, kind: str) -> Element:
    """A word on its tint."""
    return element("b", word, style=f"background:{TINTS[kind]};padding:1px 8px;border-radius:4px")


def paragraph(said: str) -> list[Element]:
    """A text of the reports, without the line breaks of a mail; nothing where there is none."""
    return [element("p", " ".join(said.split()), style="margin:6px 0")] if said else []


def faded(said: str) -> Element:
    """What is there for who wants to know."""
    return element("p", said, style=f"margin:4px 0;{FADED}")


def pre(said: str, marked: str = "") -> Element:
    """A text in columns; the line that has `marked` in it stands out."""
    nodes: list[Node] = []
    for line in said.splitlines():
        hit = bool(marked) and marked in line
        nodes += [element("b", line, style=f"background:{TINTS['bad']}") if hit else line, "\n"]
    return element("pre", *nodes, style=PRE)


def grid(
    head: Sequence[Node], rows: Sequence[Sequence[Node]], kinds: Mapping[tuple[int, int], str] | None = None
) -> Element:
    """A table; `kinds` tints cells by (row, column).  The last cell of a row that is too short spans what is left."""
    tints = kinds or {}
    body = []
    for row, cells in enumerate(rows):
        made = [element("td", cell, style=_cell(cell, tints.get((row, at), ""))) for at, cell in enumerate(cells)]
        if len(cells) < len(head):
            made[-1].set("colspan", str(len(head) - len(cells) + 1))
        body.append(element("tr", *made))
    titles = element("tr", *(element("th", title, style=_cell(title, "")) for title in head))
    parts = ([element("thead", titles)] if any(head) else []) + [element("tbody", *body)]
    return element(
        "div", element("table", *parts, style="border-collapse:collapse"), style="overflow-x:auto;margin:6px 0"
    )


def _cell(content: Node, kind: str) -> str:
    short = isinstance(content, str) and len(content) <= UNBROKEN
    return f"{CELL};background:{TINTS[kind]}{';white-space:nowrap' if short else ''}"


UNBROKEN: Final = 32
"""A cell of so many letters stays on one line."""


def folded(title: str, *content: Node) -> Element:
    """What is shown on a click."""
    return element("details", element("summary", title, style="cursor:pointer"), *content, style="margin:6px 0")


def code(said: str) -> Element:
    """Something to type."""
    return element("p", element("code", said, style=f"{MONOSPACE};background:none"), style="margin:6px 0")
