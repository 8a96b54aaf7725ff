"""What the forecaster of replicas costs, and what it leaves over capacity, on rates of production traffic in windows of ten minutes.

`python -m bench.autoscale RATES.csv --rps-per-replica R --out replicas.csv` asks for replicas window by window, knowing only the windows
before. RATES has `window_start_s` and `rate_rps`; out has `window_start_s` and `replicas`.

`python -m bench.autoscale [--data DIR] [--json]` does so for every `traces/*_rates.csv` of a directory (default PENSTOCK_DATA, else
../shared/data), at three sizes of a replica, in whole, halves and backwards, beside other ways of asking. Cost is over a perfect forecast,
sum of ceil(rate / R); what was asked for serves 180 s late; rates are steady within a window.
"""

import argparse
import csv
import json
import os
import sys
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.autoscale_baselines import AGAINST, OURS, WAYS, forecast
from bench.autoscale_judge import Judged, Rates, judge

DATA = Path(os.environ.get("PENSTOCK_DATA", "../shared/data"))
FLEETS: Final = (10, 20, 40)
"""replicas that a trace's mean rate keeps busy"""
WINDOW_S: Final = 600.0
COST, OVER, REVERSALS = 1.15, 0.0025, 2.0


class RatesError(ValueError):
    """A file that holds no rates."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rates", type=Path, nargs="?", metavar="RATES.csv", help="a trace to answer")
    parser.add_argument("--rps-per-replica", type=float, metavar="R", help="requests a second that a replica serves")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the answer goes")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help=f"traces to compare on (default PENSTOCK_DATA, else {DATA})")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    try:
        if given.rates is None:
            files = sorted((given.data / "traces").glob("*_rates.csv"))
            if not files:
                print(f"skipped: no traces/*_rates.csv in {given.data}; pass --data DIR or set PENSTOCK_DATA", file=sys.stderr)
                return
            result = compare([rates_of(file) for file in files])
            print(json.dumps(result, indent=2) if given.json else report(result))
        elif not given.rps_per_replica or not 0 < given.rps_per_replica < float("inf") or given.out is None:
            parser.error("RATES.csv needs --rps-per-replica, above 0, and --out FILE")
        else:
            answer(given.rates, given.rps_per_replica, given.out, given.json)
    except (RatesError, OSError) as problem:
        sys.exit(f"bench.autoscale: {problem}")


def rates_of(file: Path) -> Rates:
    """Raises `RatesError` that names the first bad row, headings counted."""
    starts: list[float] = []
    rates: list[float] = []
    with file.open(newline="") as text:
        for number, row in enumerate(csv.DictReader(text), 2):
            try:
                start, rate = float(row["window_start_s"]), float(row["rate_rps"])
            except (KeyError, TypeError, ValueError):
                raise RatesError(f"{file}, row {number}: window_start_s and rate_rps must be there, and numbers") from None
            if not isfinite(start) or not isfinite(rate) or rate < 0:
                raise RatesError(f"{file}, row {number}: {rate} is no rate, or {start} no time")
            if starts and start <= starts[-1]:
                raise RatesError(f"{file}, row {number}: windows must be in order of time, each once")
            starts.append(start)
            rates.append(rate)
    if not rates:
        raise RatesError(f"{file} has no rows")
    window_s = min((after - before for before, after in pairwise(starts)), default=WINDOW_S)
    return Rates(file.name.removesuffix(".csv").removesuffix("_rates"), tuple(starts), tuple(rates), window_s)


def answer(file: Path, rps_per_replica: float, out: Path, as_json: bool) -> None:
    rates = rates_of(file)
    asked = forecast(rates, rps_per_replica)
    with out.open("w", newline="") as text:
        lines = csv.writer(text)
        lines.writerow(["window_start_s", "replicas"])
        lines.writerows(zip((f"{start:g}" if start < 1e6 else f"{start:.0f}" for start in rates.start_s), asked, strict=True))
    told = judge(rates, asked, rps_per_replica)
    print(json.dumps(msgspec.to_builtins(told), indent=2) if as_json else f"{len(asked):,} windows answered: {out}; {_words(told)}")


def compare(traces: list[Rates]) -> dict[str, Any]:
    """Trace -> part -> replicas of the mean rate -> way -> figures; and the bars, on whole traces."""
    found: dict[str, Any] = {}
    for trace in traces:
        for part, rates in parts_of(trace).items():
            for fleet in FLEETS:
                size = float(f"{sum(rates.rps) / len(rates.rps) / fleet:.2g}")
                told = {name: msgspec.to_builtins(judge(rates, way(rates, size), size)) for name, way in WAYS.items()}
                found.setdefault(trace.name, {}).setdefault(part, {})[str(fleet)] = {"rps_per_replica": size, "ways": told}
    return {"traces": found, "bars": bars_of(found)}


def parts_of(trace: Rates) -> dict[str, Rates]:
    """The trace, its halves where they are a day at least, and the trace backwards."""
    half = len(trace.rps) // 2
    parts = {"whole": trace}
    if half * trace.window_s >= 86_400:
        parts |= {
            "first half": msgspec.structs.replace(trace, start_s=trace.start_s[:half], rps=trace.rps[:half]),
            "second half": msgspec.structs.replace(trace, start_s=trace.start_s[half:], rps=trace.rps[half:]),
        }
    return parts | {"backwards": msgspec.structs.replace(trace, rps=trace.rps[::-1])}


def bars_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Each at its worst over traces and sizes of a replica."""
    cells = [(name, size["ways"]) for name, parts in found.items() for size in parts["whole"].values()]
    ours = [ways[OURS] for _, ways in cells]
    beaten = [ways[OURS]["cost"] < ways[AGAINST]["cost"] and ways[OURS]["over"] <= ways[AGAINST]["over"] for _, ways in cells]
    return [
        {"bar": "cost over a perfect forecast", "limit": COST, "worst": max(each["cost"] for each in ours)},
        {"bar": "share of requests over capacity", "limit": OVER, "worst": max(each["over"] for each in ours)},
        {"bar": "reversals an hour", "limit": REVERSALS, "worst": max(each["reversals_per_hour"] for each in ours)},
        {"bar": f"traces and sizes where it loses to {AGAINST}", "limit": 0, "worst": beaten.count(False)},
    ]


def report(result: dict[str, Any]) -> str:
    lines = []
    for name, parts in result["traces"].items():
        for part, sizes in parts.items():
            for size in sizes.values():
                lines.append(f"\n{name}, {part}, {size['rps_per_replica']:g} requests a second and replica")
                lines += [f"  {way:<28}{_words(msgspec.convert(told, Judged))}" for way, told in size["ways"].items()]
    lines.append("\nbars, worst of all whole traces and sizes")
    for bar in result["bars"]:
        lines.append(
            f"  {'holds' if bar['worst'] <= bar['limit'] else 'fails'}  {bar['bar']}: {bar['worst']:.4g} (at most {bar['limit']:g})"
        )
    return "\n".join(lines)


def _words(told: Judged) -> str:
    return (
        f"cost {told.cost:.3f}, over capacity {100 * told.over:.2f} % ({100 * told.over_at_once:.2f} % if replicas started at once), "
        f"{told.reversals_per_hour:.2f} reversals an hour, {told.most_reversals} at most"
    )


if __name__ == "__main__":
    main()
