"""Reading a schedule back: `reader7 sealer1/1 device2`."""

from __future__ import annotations

import re

from mmsim.errors import UserError
from mmsim.verdict import Move, Schedule

_RUN = re.compile(r"(?P<thread>.*?[^0-9/])(?P<count>[0-9]+)(?:/(?P<alternative>[0-9]+))?", re.DOTALL)


def parse_schedule(text: str) -> Schedule:
    """The schedule that `str(schedule)` wrote.  Raises UserError naming the part that does not fit."""
    moves: list[Move] = []
    for part in text.split():
        match = _RUN.fullmatch(part)
        if match is None or int(match["count"]) < 1 or (match["alternative"] and int(match["count"]) != 1):
            msg = (
                f"{part!r} is no part of a schedule: write a thread's name and how many steps it takes (reader7), "
                "or one step and which alternative it takes (sealer1/1)"
            )
            raise UserError(msg)
        moves += [Move(match["thread"], int(match["alternative"] or 0))] * int(match["count"])
    return Schedule(tuple(moves))
