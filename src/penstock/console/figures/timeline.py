"""Several measures over the same time, one beneath the other, with one axis: what came, what ran, what was late, what it cost."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil

import msgspec
from markupsafe import Markup, escape

from penstock.console.figures.columns import round_up
from penstock.console.figures.svg import across, line, n, text, wide

DEPTH = 84.0
"""of a panel's drawing"""
HEAD, FOOT, KEY = 26.0, 22.0, 18.0
BETWEEN = 14.0
SCALE = 1000.0
"""units of a drawing, which is stretched, across"""
COLOURS = 5
KEYS_A_ROW = 2
LONGEST_NAME = 34
TICKS = (60, 300, 600, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400)
"""seconds between two ticks of the axis"""
MOST_TICKS = 8
BEYOND = 4.0
"""times its limit that a panel reaches up to; what is higher is cut"""


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a value at each instant, None where there is none. `colour`: from 1; 0 is what all have in common."""

    name: str
    values: Sequence[float | None]
    colour: int = 0
    steps: bool = False
    """a value holds until the next one"""
    dotted: bool = False


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One measure. `write` says a value in words; `limit` is a level that ought not to be passed, and its name."""

    title: str
    write: Callable[[float], str]
    tracks: Sequence[Track]
    limit: tuple[float, str] | None = None


def timeline(at_s: Sequence[float], panels: Sequence[Panel], title: str, desc: str) -> Markup:
    """The figure. `at_s`: instants of all values in seconds, rising."""
    begin, end = (at_s[0], at_s[-1]) if at_s else (0.0, 1.0)
    span = max(end - begin, 1e-9)
    places = [(at - begin) / span for at in at_s]
    names = _names(panels)
    y, bottom, body = _key_height(names), tall(panels) - FOOT, _key(names)
    ticks = list(_ticks(begin, end))
    for at in ticks:
        x = across((at - begin) / span)
        body += line(x, y + HEAD - 6, x, bottom, "grid")
    for panel in panels:
        body += _panel(panel, places, y)
        y += HEAD + DEPTH + BETWEEN
    for at in ticks:
        share = (at - begin) / span
        body += text(across(share), bottom + FOOT - 6, said_time(at), "", "start" if share < 0.04 else "end" if share > 0.96 else "middle")
    return wide(bottom + FOOT, body, title, desc, "timeline")


def tall(panels: Sequence[Panel]) -> float:
    """Pixels from the top of the figure to its foot."""
    return _key_height(_names(panels)) + len(panels) * (HEAD + DEPTH) + max(len(panels) - 1, 0) * BETWEEN + FOOT


def _key_height(names: Sequence[Track]) -> float:
    return KEY * -(-len(names) // KEYS_A_ROW) + (4 if names else 0)


def _panel(panel: Panel, places: Sequence[float], y: float) -> str:
    values = [value for track in panel.tracks for value in track.values if value is not None]
    limit = panel.limit
    highest = max([*values, 0.0 if limit is None else limit[0] * 1.15])
    top = round_up(highest if limit is None else min(highest, limit[0] * BEYOND))
    floor = y + HEAD + DEPTH
    drawn = "".join(_track(track, places, top) for track in panel.tracks)
    body = line(0, y + HEAD, "100%", y + HEAD, "grid") + line(0, floor, "100%", floor, "base")
    body += (
        f'<svg class="drawing" x="0" y="{n(y + HEAD)}" width="100%" height="{n(DEPTH)}" viewBox="0 0 {n(SCALE)} {n(DEPTH)}" '
        f'preserveAspectRatio="none">{drawn}</svg>'
    )
    if limit is not None and limit[0] <= top:
        level = floor - limit[0] / top * DEPTH
        body += line(0, level, "100%", level, "limit thin") + text("100%", level - 5, limit[1], "strong halo", "end")
    said = f"cut at {panel.write(top)}" if highest > top else panel.write(top)
    return body + text(0, y + HEAD - 9, panel.title, "strong") + text("100%", y + HEAD - 9, said, "", "end")


def _track(track: Track, places: Sequence[float], top: float) -> str:
    kind = f"trace t{track.colour and (track.colour - 1) % COLOURS + 1}"
    kind += " dotted" if track.dotted else " dashed" if track.colour > COLOURS else ""
    body = ""
    for run in _runs(track, places):
        points = " ".join(f"{n(at * SCALE)},{n(DEPTH - min(max(value / top, 0.0), 1.0) * DEPTH)}" for at, value in run)
        body += f'<polyline class="{kind}" points="{points}"><title>{escape(track.name)}</title></polyline>'
    return body


def _runs(track: Track, places: Sequence[float]) -> Iterator[list[tuple[float, float]]]:
    """Points without a gap among them, each with a corner where the value is held; a run of one point is drawn as a short line."""
    run: list[tuple[float, float]] = []
    for at, value in zip(places, track.values, strict=True):
        if value is None:
            if run:
                yield _seen(run)
            run = []
            continue
        if run and track.steps and run[-1][1] != value:
            run.append((at, run[-1][1]))
        run.append((at, value))
    if run:
        yield _seen(run)


def _seen(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return run if len(run) > 1 else [run[0], (min(run[0][0] + 0.002, 1.0), run[0][1])]


def _names(panels: Sequence[Panel]) -> list[Track]:
    """What the key tells: every colour once."""
    found = {(track.name, track.colour, track.dotted): track for panel in panels for track in panel.tracks if track.colour or track.dotted}
    return list(found.values())


def _key(names: Sequence[Track]) -> str:
    body = ""
    for index, track in enumerate(names):
        x, y = index % KEYS_A_ROW / KEYS_A_ROW, KEY * (index // KEYS_A_ROW) + 12
        kind = f"trace t{track.colour and (track.colour - 1) % COLOURS + 1}"
        kind += " dotted" if track.dotted else " dashed" if track.colour > COLOURS else ""
        name = track.name if len(track.name) <= LONGEST_NAME else f"{track.name[: LONGEST_NAME - 1]}…"
        sample = f'<svg class="arrow" x="{across(x)}" y="{n(y - 4)}"><path class="{kind}" d="M0 0h22"/></svg>'
        body += sample + text(across(x), y, name, "", dx=29)
    return body


def _ticks(begin: float, end: float) -> Iterator[float]:
    long = round_up((end - begin) / MOST_TICKS / 86_400) * 86_400
    step = next((float(each) for each in TICKS if (end - begin) / each <= MOST_TICKS), long)
    at = ceil(begin / step) * step
    while at <= end:
        yield at
        at += step


def said_time(seconds: float) -> str:
    """An instant after the begin: `0`, `90 s`, `25 min`, `6 h`, `1 d 12 h`."""
    if not seconds:
        return "0"
    if seconds % 60 or seconds < 60:
        return f"{seconds:g} s"
    if seconds % 3600 or seconds < 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return f"{days} d {hours} h" if hours else f"{days} d"
