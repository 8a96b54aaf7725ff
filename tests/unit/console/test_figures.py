"""Figures: what names hold cannot break out of them, unknown is a gap, and no figure has a style of its own."""

from xml.etree import ElementTree as Xml

import msgspec
import pytest

from penstock.console.figures.bars import bar, stack
from penstock.console.figures.columns import Note, Series, columns, round_up
from penstock.console.figures.course import FOOT, HEIGHT, TOP, Way, course
from penstock.console.figures.gauge import Level, gauge
from penstock.console.figures.levels import levels
from penstock.console.figures.sparkline import sparkline

EVIL = '"><script>alert(1)</script>'
WAY = Way(
    past=[(0.0, 0.0), (0.4, 0.7)], ahead=[(0.4, 0.7, 0.7, 0.7), (1.0, 1.2, 1.0, 9.0)], now=0.4, crosses=(0.7, EVIL), limit=EVIL,
    begin=EVIL, end=EVIL,
)  # fmt: skip
FIGURES = {
    "course": course(WAY, EVIL, EVIL),
    "course of nothing": course(msgspec.structs.replace(WAY, past=[], ahead=[], now=1.0, crosses=None), "nothing", ""),
    "course far over": course(msgspec.structs.replace(WAY, past=[(0.0, 0.0), (0.4, 40.0)], crosses=(0.01, "now")), "over", "over"),
    "bar": bar(0.5, EVIL),
    "unknown bar": bar(None, "share unknown"),
    "stack": stack([(EVIL, 0.5, "water"), ("idle", 0.5, "copper")], EVIL),
    "sparkline": sparkline([1.0, None, 3.0, 0.0], EVIL),
    "no sparkline": sparkline([], "nothing"),
    "gauge": gauge(Level(share=0.4, elapsed=0.7, forecast=0.6, marks=(0.5, 0.8, 0.95)), EVIL, EVIL),
    "gauge beyond": gauge(Level(share=7.0, elapsed=None, forecast=9.0, marks=(0.5,)), "over", "over"),
    "levels": levels([(EVIL, 0.5, EVIL), ("2", None, "unknown"), ("3", 1.7, "more")], (0.9, EVIL), EVIL, EVIL),
    "no levels": levels([], None, "nothing", ""),
    "columns": columns(["1 Nov", EVIL], [Series(EVIL, "w1", [1.0, 0.0])], [Note(0, "a", ((EVIL, None),))], EVIL, EVIL),
    "no columns": columns([], [], [], "nothing", ""),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_whole_and_say_themselves(name: str) -> None:
    figure = Xml.fromstring(FIGURES[name])
    assert figure.get("role") == "img"
    assert figure[0].tag == "title" and figure[0].text
    assert not [each for each in figure.iter() if "style" in each.attrib or each.tag == "script"]


def test_a_course_keeps_to_its_place() -> None:
    """A band that reaches far beyond is cut off, and the limit stays where it can be seen."""
    for name in ("course", "course far over"):
        figure = Xml.fromstring(FIGURES[name])
        level = next(float(each.get("y1", "")) for each in figure if each.get("class") == "limit thin")
        assert TOP < level < HEIGHT - FOOT
    drawing = next(each for each in Xml.fromstring(FIGURES["course"]) if each.tag == "svg")
    band = [tuple(map(float, point.split(","))) for point in drawing[0].get("points", "").split()]
    assert min(y for _, y in band) < 0, "what is higher than three limits lies outside"
    assert {x for x, _ in band} == {400.0, 1000.0}


def test_a_gap_where_it_is_unknown() -> None:
    assert FIGURES["sparkline"].count("<polyline") == 2
    assert "water" not in FIGURES["unknown bar"]


def test_a_gauge_shows_what_is_beyond_the_limit() -> None:
    assert 'class="alarm"' in FIGURES["gauge beyond"]
    assert 'class="alarm"' not in FIGURES["gauge"]
    assert FIGURES["gauge"].count("mark") == 3


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.0042, 0.005), (0.9, 1), (1, 1), (7, 8), (99, 100), (101, 150), (41203, 50000)])
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


def test_levels_stay_within_their_bed_and_unknown_is_a_gap() -> None:
    drawn = Xml.fromstring(levels([("1", 0.5, "half"), ("2", None, ""), ("3", 0.0, "none"), ("4", 9.0, "much")], (0.95, "P95"), "t", "d"))
    bed, *bars = [each for each in drawn if each.tag == "rect"]
    assert [each[0].text for each in bars] == ["half", "none", "much"]
    heights = [float(each.get("height") or 0) for each in bars]
    assert heights == [float(bed.get("height") or 0) / 2, 0, float(bed.get("height") or 0)]
