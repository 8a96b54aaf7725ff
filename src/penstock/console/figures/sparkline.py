"""A small line of a measure over time, for a row of a table. Gaps where it is unknown."""

from collections.abc import Sequence

from markupsafe import Markup

from penstock.console.figures.svg import frame, n

WIDTH, HEIGHT = 120, 24


def sparkline(amounts: Sequence[str | float | None], title: str, kind: str = "", running: bool = False) -> Markup:
    """Amounts (money as decimal text) in order, from zero up.

    `running`: the last one is of a time that is not over, so the way to it is dotted.
    """
    values = [None if amount is None else float(amount) for amount in amounts]
    known = [value for value in values if value is not None]
    top = max(known, default=0) or 1
    step = WIDTH / max(len(values) - 1, 1)
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((index * step, HEIGHT - 2 - max(value, 0) / top * (HEIGHT - 4)))
    body = ""
    for run in filter(None, runs):
        body += f'<polygon class="under" points="{n(run[0][0])},{HEIGHT} {_points(run)} {n(run[-1][0])},{HEIGHT}"/>'
        whole = run[:-1] if running and run is runs[-1] and len(run) > 1 else run
        body += f'<polyline class="trace" points="{_points(whole)}"/>'
        if whole is not run:
            body += f'<polyline class="trace open" points="{_points(run[-2:])}"/>'
    return frame(WIDTH, HEIGHT, body, title, kind=f"spark {kind}".strip())


def _points(run: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{n(x)},{n(y)}" for x, y in run)
