"""The picture of an execution: what lasts, for how long, and what is counted."""

from __future__ import annotations

import io

import pytest

from mmsim import api
from mmsim.errors import UserError
from mmsim.report import timeline_plot
from mmsim.report.timeline_plot import Event, Segment, bars, counts, histories, runs
from mmsim.trace import Execution
from tests.report.samples import AT_THE_WRITE, DEADLOCK

RACE = "dio_completes_after_seal"


def event(at, cell, old, new, *, thread="reader", call="munmap()", word="store"):
    return Event(at, at + 1, thread, call, word, cell, old, new)


def spans(segments):
    return [(one.start, one.end, one.value) for one in segments]


def test_a_cell_holds_what_its_first_step_found_from_the_start_to_the_end():
    found = histories(
        [
            event(2, "a.page[0]._refcount", 1, 2),
            event(4, "a.page[0]._refcount", 2, 2, word="load"),
            event(6, "a.page[0]._refcount", 2, 1),
            event(7, "i.seals", 0, 8),
            event(8, "m.mmap_lock", 0, -1, word="lock"),
        ],
        10,
    )
    assert spans(found["a.page[0]._refcount"]) == [(0, 2.5, 1), (2.5, 6.5, 2), (6.5, 10, 1)]
    assert spans(found["i.seals"]) == [(0, 7.5, 0), (7.5, 10, 8)]
    assert "m.mmap_lock" not in found


def test_a_thread_runs_in_stretches_of_one_call():
    found = runs(
        [
            event(0, "x", 0, 1),
            event(1, "x", 1, 2),
            event(2, "x", 2, 3, thread="sealer", call="pread()"),
            event(3, "x", 3, 4),
            event(4, "x", 4, 5, call="exit()"),
        ]
    )
    assert list(found) == ["reader", "sealer"]
    assert [(one.start, one.end, one.text) for one in found["reader"]] == [
        (0, 2, "munmap()"),
        (3, 4, "munmap()"),
        (4, 5, "exit()"),
    ]


def test_bars_are_what_is_there_and_content_has_a_colour_for_each_value():
    found = bars(
        {
            "i.seals": [Segment(0, 5, 0), Segment(5, 9, 8)],
            "p.page[0].word[0]": [Segment(0, 6, b"orig"), Segment(6, 9, b"late")],
            "q.page[0].word[0]": [Segment(0, 9, b"orig")],
            "slow.queue": [Segment(0, 3, ()), Segment(3, 9, ("one", "two"))],
            "m.pte[0x1000]": [Segment(0, 9, None)],
            "p.page[0].PG_writer": [Segment(0, 2, False), Segment(2, 9, True)],
            "p.page[0].flags": [Segment(0, 2, frozenset()), Segment(2, 9, frozenset({"dirty"}))],
            "p.page[0]._refcount": [Segment(0, 9, 1)],
        }
    )
    assert {cell: [(one.start, one.text) for one, _ in some] for cell, some in found.items()} == {
        "slow.queue": [(3, "2 under way")],
        "i.seals": [(5, "F_SEAL_WRITE")],
        "p.page[0].word[0]": [(0, '"orig"'), (6, '"late"')],
        "q.page[0].word[0]": [(0, '"orig"')],
        "p.page[0].PG_writer": [(2, "PG_writer")],
        "p.page[0].flags": [(2, "dirty")],
    }
    (_, first), (_, second) = found["p.page[0].word[0]"]
    assert first != second
    assert found["q.page[0].word[0]"][0][1] == first


def test_counts_are_linux_s_own_and_what_a_design_moves():
    changing = [Segment(0, 5, 0), Segment(5, 9, 1)]
    found = counts(
        {
            "p.page[0]._refcount": [Segment(0, 9, 1)],
            "p.page[0].writers": changing,
            "p.page[0].untouched": [Segment(0, 9, 0)],
            "i.i_data.i_mmap_writable": changing,
            "i.i_data.debt": changing,
            "reader.ios_made": changing,
            "p.page[0].word[0]": [Segment(0, 9, b"orig")],
        }
    )
    assert found == {
        "p.page[0]": ["p.page[0]._refcount", "p.page[0].writers"],
        "i.i_data": ["i.i_data.i_mmap_writable", "i.i_data.debt"],
    }


def test_the_race_of_the_mail():
    steps = api.check(RACE, "sealing_v2").execution.steps
    events = [Event(at, at + 1, one.thread, "", one.word, one.cell, one.old, one.new) for at, one in enumerate(steps)]
    cells = histories(events, len(steps))
    things = bars(cells)
    end = float(len(steps))
    request, seal = things["slow.queue"][-1][0], things["memfd:frame.inode.seals"][-1][0]
    mapping = things["main.mm maps"][-1][0]
    assert mapping.end < seal.start < end  # nobody maps it, and the seal is granted
    assert request.start < mapping.end
    assert request.end == end  # while the device still has it
    assert [one.text for one, _ in things["setup.page[0].word[0]"]] == ['"orig"', '"late"']
    assert counts(cells)["memfd:frame.inode.i_data"] == ["memfd:frame.inode.i_data.i_mmap_writable"]


@pytest.fixture
def drawn():
    pytest.importorskip("matplotlib")
    return lambda picture: picture._repr_png_()


def test_pictures_of_all_kinds(drawn):
    from PIL import Image

    first, again = (drawn(timeline_plot.of_execution(AT_THE_WRITE)) for _ in range(2))
    assert first == again
    assert Image.open(io.BytesIO(first)).size[0] > 1000
    assert drawn(timeline_plot.of_execution(DEADLOCK)).startswith(b"\x89PNG")
    run = api.simulate(RACE, "sealing_v2", delays={"slow": "1us"})
    assert drawn(run.picture()).startswith(b"\x89PNG")


def test_a_picture_says_what_is_broken_and_where(drawn):
    found = api.check(RACE, "sealing_v2")
    figure = found.picture().figure
    top = figure.axes[0]
    assert "sealed content never changes" in top.get_title(loc="right")
    names = [label.get_text() for axis in figure.axes for label in axis.get_yticklabels()]
    assert {"reader", "sealer", "slow", "main.mm maps", "slow.queue", "seals", "setup.page[0].word[0]"} <= set(names)
    texts = {text.get_text() for axis in figure.axes for text in axis.texts}
    assert {"munmap()", "F_SEAL_WRITE", '"late"', "_refcount", "i_mmap_writable", "3"} <= texts
    for axis in figure.axes:
        marked = [line for line in axis.lines if list(line.get_xdata()) == [len(found.execution.steps) - 0.5] * 2]
        assert len(marked) == 1


def test_a_picture_can_be_saved(drawn, tmp_path):
    picture = timeline_plot.of_execution(AT_THE_WRITE)
    for name in ("race.png", "race.svg"):
        picture.save(str(tmp_path / name))
        assert (tmp_path / name).stat().st_size > 10_000
    with pytest.raises(UserError, match=r"\.png or \.svg"):
        picture.save(str(tmp_path / "race.gif"))
    with pytest.raises(UserError, match="no folder"):
        picture.save(str(tmp_path / "nowhere" / "race.png"))


def test_drawing_leaves_matplotlib_s_settings_alone(drawn):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    drawn(timeline_plot.of_execution(AT_THE_WRITE))
    assert dict(mpl.rcParams) == before


def test_there_must_be_a_step():
    with pytest.raises(UserError, match="nothing to draw"):
        timeline_plot.of_execution(Execution((), (), None))
