"""The picture of a simulated fleet over time: one axis, gaps where nothing is known, and a file that needs nothing else."""

from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from penstock.console.figures.alone import alone
from penstock.console.figures.timeline import BEYOND, DEPTH, SCALE, Panel, Track, said_time, tall, timeline

EVIL = '"><script>alert(1)</script>'
SVG = "{http://www.w3.org/2000/svg}"


def write(value: float) -> str:
    return f"{value:g} <s>"


def panels(*values: float | None, limit: float | None = 1.0) -> list[Panel]:
    bound = None if limit is None else (limit, EVIL)
    tracks = [Track(name=EVIL, values=values, colour=1), Track(name="oracle", values=values, steps=True, dotted=True)]
    return [
        Panel(title=EVIL, write=write, tracks=tracks, limit=bound),
        Panel(title="load", write=write, tracks=[Track(name="", values=values)]),
    ]


def lines(figure: Markup) -> list[list[tuple[float, float]]]:
    found = [each for each in Xml.fromstring(figure).iter() if each.tag == "polyline"]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in each.get("points", "").split())] for each in found]


@given(st.lists(st.tuples(st.floats(0, 1e9), st.none() | st.just(0.0) | st.floats(1e-6, 1e12)), max_size=40))
def test_any_values_stay_within_their_place(points: list[tuple[float, float | None]]) -> None:
    points.sort(key=lambda point: point[0])
    shown = panels(*(value for _, value in points))
    figure = timeline([at for at, _ in points], shown, EVIL, EVIL)
    root = Xml.fromstring(figure)
    assert root.get("role") == "img" and root[0].tag == "title" and "nan" not in figure and "inf" not in figure
    assert not [each for each in root.iter() if each.tag == "script" or "style" in each.attrib]
    for drawn in lines(figure):
        assert all(0 <= x <= SCALE and 0 <= y <= DEPTH for x, y in drawn)
    assert float(root.get("height", "")) == pytest.approx(tall(shown), abs=0.06)


def test_a_gap_breaks_the_line_and_a_step_has_corners() -> None:
    smooth, stepped, _ = (
        lines(timeline([0, 1, 2, 3, 4], [each], "t", "d")) for each in split(panels(1.0, None, 1.0, 3.0, 3.0, limit=None))
    )
    assert len(smooth) == 2 and len(smooth[1]) == 3
    assert [x for x, _ in stepped[1]] == [500.0, 750.0, 750.0, 1000.0], "the old value is held until the new one comes"


def split(given: list[Panel]) -> list[Panel]:
    return [Panel(title="t", write=write, tracks=[track]) for panel in given for track in panel.tracks]


def test_what_is_far_beyond_its_limit_is_cut_and_says_so() -> None:
    figure = timeline([0, 1], panels(0.5, 100.0)[:1], "t", "d")
    assert f"cut at {BEYOND:g} <s>" in [each.text for each in Xml.fromstring(figure).iter("text")]
    level = next(float(each.get("y1", "")) for each in Xml.fromstring(figure) if each.get("class") == "limit thin")
    assert level == pytest.approx(tall(panels(0.5)[:1]) - 22 - DEPTH / BEYOND, abs=0.1)


def test_nothing_at_all_is_drawn_too() -> None:
    assert Xml.fromstring(timeline([], panels(), "nothing", "")).get("class") == "fig timeline"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0"), (45, "45 s"), (90, "90 s"), (1500, "25 min"), (5400, "1 h 30 min"), (21_600, "6 h"), (216_000, "2 d 12 h")],
)
def test_times_are_short(seconds: float, words: str) -> None:
    assert said_time(seconds) == words


def test_a_file_of_its_own_carries_its_colours_and_no_script() -> None:
    shown = panels(1.0, 2.0)
    file = alone(timeline([0, 60], shown, "t", "d"), tall(shown), EVIL, EVIL)
    root = Xml.fromstring(file)
    assert root.tag == f"{SVG}svg" and not [each for each in root.iter() if each.tag == f"{SVG}script"]
    style = root.find(f"{SVG}style")
    assert style is not None and style.text is not None
    assert "prefers-color-scheme: dark" in style.text and "--water:" in style.text and ".timeline .t1" in style.text
    assert "url(" not in file and "http://www.w3.org" in file and file.count("http") == 1
