"""How far off the forecast of spend is, and how often its band holds, against naive ones, at many instants of real traces.

`python -m bench.forecast --traces DIR [--step 3] [--statsforecast] [--json]`. DIR (or PENSTOCK_TRACES) holds `*_rates.csv` with
`window_start_s`, `rate_rps`, `mean_input_tokens`, `mean_output_tokens` (ServeGen's aggregate rates of production models). Two series each:
requests an hour, and what they would cost at a price of output four times that of input. At every instant each method says the sum over
the next 6, 24 and 72 hours; the error is its distance from what came, in percent of that. `--statsforecast` adds AutoETS and MSTL of that
library where it is installed; Penstock does not depend on it.
"""

import argparse
import csv
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from penstock.domain.budgets.forecast import DAY, WEEK, forecast

HORIZONS = (6, 24, 72)
LONGEST = max(HORIZONS)
BEGINS = {"hours": (6, 2 * DAY), "two days or more": (2 * DAY, 10**9), "a week or more": (WEEK, 10**9)}
"""hours of history at the instants of each part"""
Hours = list[float]
Course = Sequence[float]
Method = Callable[[Hours], Course | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--traces", default=os.environ.get("PENSTOCK_TRACES"), help="folder of the traces (default PENSTOCK_TRACES)")
    parser.add_argument("--step", type=int, default=3, help="hours from one instant to the next (default 3)")
    parser.add_argument("--statsforecast", action="store_true", help="also AutoETS and MSTL, where the library is installed")
    options = parser.parse_args()
    files = sorted(Path(options.traces).glob("*_rates.csv")) if options.traces else []
    if not files:
        print("skipped: no traces; pass --traces DIR or set PENSTOCK_TRACES to a folder with *_rates.csv", file=sys.stderr)
        return
    result = measure(dict(every_series(files)), options.step, METHODS | (_statsforecast() if options.statsforecast else {}))
    print(json.dumps(result, indent=2) if options.json else report(result))


def every_series(files: Sequence[Path]) -> Iterator[tuple[str, Hours]]:
    """Name -> sums by hour. An hour of which windows are missing counts as its others."""
    for file in files:
        requests: dict[int, list[float]] = {}
        spend: dict[int, list[float]] = {}
        with file.open(newline="") as text:
            for row in csv.DictReader(text):
                hour, rate = int(float(row["window_start_s"])) // 3600, float(row["rate_rps"]) * 3600
                requests.setdefault(hour, []).append(rate)
                spend.setdefault(hour, []).append(rate * (float(row["mean_input_tokens"]) + 4 * float(row["mean_output_tokens"])))
        name = file.name.removesuffix("_rates.csv")
        for kind, found in (("requests", requests), ("spend", spend)):
            yield f"{name} {kind}", [_mean(found.get(hour, [])) for hour in range(min(found), max(found) + 1)]


def measure(series: dict[str, Hours], step: int, methods: dict[str, Method]) -> dict[str, Any]:
    """Part -> horizon -> series -> method -> error; and of ours whether the band held, how wide it was, and what a forecast took."""
    found: dict[str, Any] = {"step_h": step, "parts": {}}
    took: list[float] = []
    for name, hours in series.items():
        for origin in range(6, len(hours) - HORIZONS[0] + 1, step):
            told, came = hours[:origin], hours[origin:]
            began = time.process_time()
            ours = forecast(told, LONGEST)
            took.append(time.process_time() - began)
            paths = {label: method(told) for label, method in methods.items()}
            for part in (part for part, (first, last) in BEGINS.items() if first <= origin < last):
                for horizon in (horizon for horizon in HORIZONS if horizon <= len(came)):
                    cell = found["parts"].setdefault(part, {}).setdefault(str(horizon), {}).setdefault(name, _cell())
                    _judge(cell, sum(came[:horizon]), horizon, ours, paths)
    for part in found["parts"].values():
        for horizon, cells in part.items():
            part[horizon] = {name: _told(cell) for name, cell in cells.items()}
            part[horizon]["mean"] = _over(list(part[horizon].values()))
    return found | {"ms_per_forecast": 1000 * _mean(took)}


def _cell() -> dict[str, Any]:
    return {"errors": {}, "held": [], "width": []}


def _judge(cell: dict[str, Any], came: float, horizon: int, ours: Any, paths: dict[str, Course | None]) -> None:
    said = {"ours": ours.hours, **paths}
    for label, path in said.items():
        if path is not None:
            cell["errors"].setdefault(label, []).append(abs(sum(path[:horizon]) - came) / came)
    cell["held"].append(ours.low[horizon - 1] <= came <= ours.high[horizon - 1])
    cell["width"].append((ours.high[horizon - 1] - ours.low[horizon - 1]) / came)


def _told(cell: dict[str, Any]) -> dict[str, Any]:
    """Means; a method that could not speak at every instant is left out."""
    count = len(cell["held"])
    errors = {label: _mean(each) for label, each in cell["errors"].items() if len(each) == count}
    return {"origins": count, "errors": errors, "held": _mean(cell["held"]), "width": _mean(cell["width"])}


def _over(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over the series, each counting the same."""
    labels = [label for label in cells[0]["errors"] if all(label in cell["errors"] for cell in cells)]
    return {
        "origins": sum(cell["origins"] for cell in cells),
        "errors": {label: _mean([cell["errors"][label] for cell in cells]) for label in labels},
        "held": _mean([cell["held"] for cell in cells]),
        "width": _mean([cell["width"] for cell in cells]),
    }


def _line(told: Hours) -> Course:
    """A straight line through all that was spent so far: the mean of an hour goes on."""
    return [_mean(told)] * LONGEST


def _yesterday(told: Hours) -> Course | None:
    return [told[len(told) - DAY + hour % DAY] for hour in range(LONGEST)] if len(told) >= DAY else None


def _last_week(told: Hours) -> Course | None:
    return [told[len(told) - WEEK + hour % WEEK] for hour in range(LONGEST)] if len(told) >= WEEK else None


def _drift(told: Hours) -> Course:
    """The last hour, and on along the line from the first one."""
    slope = (told[-1] - told[0]) / (len(told) - 1)
    return [max(0.0, told[-1] + slope * (hour + 1)) for hour in range(LONGEST)]


METHODS: dict[str, Method] = {"line so far": _line, "yesterday": _yesterday, "last week": _last_week, "drift": _drift}


def _statsforecast() -> dict[str, Method]:
    models, numpy = importlib.import_module("statsforecast.models"), importlib.import_module("numpy")

    def method(make: Callable[[int], Any]) -> Method:
        def path(told: Hours) -> Course | None:
            if len(told) < 2 * DAY:
                return None
            said = make(len(told)).forecast(y=numpy.array(told), h=LONGEST)["mean"]
            return [max(0.0, float(value)) for value in said]

        return path

    def mstl(known: int) -> Any:
        return models.MSTL(season_length=[DAY, WEEK] if known >= 2 * WEEK else [DAY])

    return {"AutoETS": method(lambda known: models.AutoETS(season_length=DAY)), "MSTL": method(mstl)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def report(result: dict[str, Any]) -> str:
    lines = [f"mean error of the sum in %, an instant every {result['step_h']} h; {result['ms_per_forecast']:.0f} ms of CPU a forecast"]
    for part in (part for part in BEGINS if part in result["parts"]):
        for horizon, cells in result["parts"][part].items():
            labels = list(dict.fromkeys(label for cell in cells.values() for label in cell["errors"]))
            titles = "".join(f"{label:>12}" for label in labels)
            lines.append(f"\nthe next {horizon} h, after {part}{'':<12}instants{titles}  | band held  its width")
            for name, cell in cells.items():
                errors = "".join(f"{100 * cell['errors'][label]:12.1f}" if label in cell["errors"] else f"{'-':>12}" for label in labels)
                lines.append(f"  {name:<36}{cell['origins']:>8}{errors}  | {100 * cell['held']:8.0f} %{100 * cell['width']:9.0f} %")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
