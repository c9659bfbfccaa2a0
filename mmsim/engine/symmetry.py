"""Symmetry: N copies of a process are interchangeable, so one representative of each permutation is explored."""

from __future__ import annotations

from array import array

from mmsim.engine.tables import State, Tables


class Symmetry:
    """Maps a state to the representative of its class."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def canonical(self, places: array[int]) -> State:
        """The representative of the state's class."""
        return places.tobytes()
