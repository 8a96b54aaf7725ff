"""What the latency model errs by, on measured serving points, beside rooflines.

`python -m bench.latency_model --fit DIR --points POINTS.csv --out predictions.csv` fits the product's model on DIR/serving_points.csv and
predicts the rows of POINTS.csv (the same columns without `ttft_ms` and `tpot_ms`). The output repeats the key columns and adds `row` (from
0), `ttft_ms, ttft_p10_ms, ttft_p90_ms, tpot_ms, tpot_p10_ms, tpot_p90_ms`: one row per row, in order. A model or system that is unknown
gets the median of what was measured, with a band as wide as that, and is named on stderr.

`python -m bench.latency_model [--data DIR]` cross-validates: random parts (runs listed twice stay together) and whole pairs of model and
system held out; then 20 points of a held-out pair are given back and the rest is judged again.

`--tune` prints the variances of `penstock.capacity.latency.components`; `--ship FILE` writes the constants that Penstock carries.
`--json` on each.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: runs are parallel already

from bench.latency_points import Example, FileError, cases_of, examples_of, rows_of
from bench.latency_report import cross_validation, report
from bench.latency_tune import tuned
from penstock.capacity.latency.fitting import Origin, fit
from penstock.domain.sizing.latency.deployment import Prediction

DATA = Path(os.environ.get("PENSTOCK_DATA", "../shared/data"))
POINTS = "serving_points.csv"
KEYS = (
    "model", "system", "precision", "backend", "isl", "osl", "concurrency", "tp_size", "pp_size", "attention_dp_size", "moe_tp_size",
    "moe_ep_size", "gemm_quant_mode", "moe_quant_mode",
)  # fmt: skip
WIDE = 2.0
"""times the median, either way: the band of what is not known at the least"""
SOURCE = "github.com/ai-dynamo/aiconfigurator, silicon_sample.csv at 095f58a (InferenceX by SemiAnalysis, and NVIDIA's own runs)"
LICENCE = "measured points: Apache-2.0, Copyright NVIDIA CORPORATION & AFFILIATES"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help=f"where profiles/serving_points.csv is (default PENSTOCK_DATA, else {DATA})"
    )
    parser.add_argument("--fit", type=Path, metavar="DIR", help="measured points that the model may know")
    parser.add_argument("--points", type=Path, metavar="FILE", help="rows to predict")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where predictions go")
    parser.add_argument("--tune", action="store_true", help="print the variances of the residual")
    parser.add_argument("--ship", type=Path, metavar="FILE", help="write the constants")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    asked = parser.parse_args()
    if (asked.points is None) != (asked.out is None):
        parser.error("--points and --out go together")
    measured = asked.data / "profiles"
    if asked.fit is None and not (measured / POINTS).exists():
        print(f"skipped: no {POINTS} in {measured}; pass --data DIR or set PENSTOCK_DATA", file=sys.stderr)
        return
    try:
        if asked.points is not None:
            answer = predict(asked.fit or measured, asked.points, asked.out)
        elif asked.tune:
            answer = tuned(examples_of(measured / POINTS))
        elif asked.ship is not None:
            answer = ship(measured, asked.ship)
        else:
            answer = cross_validation(examples_of(measured / POINTS))
    except (OSError, FileError) as problem:
        sys.exit(f"bench.latency_model: {problem}")
    print(json.dumps(answer, indent=2) if asked.json else report(answer))


def predict(known: Path, asked: Path, out: Path) -> dict[str, object]:
    """Predictions of a file, written to another."""
    examples = examples_of(known / POINTS)
    model = fit([(case.deployment, point) for case, point in examples])
    rows = rows_of(asked)
    cases, unknown = cases_of(rows)
    for why, at in told_once(unknown).items():
        more = "" if len(at) == 1 else f" and {len(at) - 1:,} more"
        print(f"row {at[0]}{more}: {why}; a wide band stands in", file=sys.stderr)
    places = sorted(cases)
    said = dict(zip(places, model.predict_all([(cases[i].deployment, cases[i].workload) for i in places]), strict=True))
    fallback = of_all(examples)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", *KEYS, *(f"{kind}_{end}" for kind in ("ttft", "tpot") for end in ("ms", "p10_ms", "p90_ms"))])
        for place, row in enumerate(rows):
            it = said.get(place, fallback)
            times = (it.ttft_ms, it.ttft_low_ms, it.ttft_high_ms, it.tpot_ms, it.tpot_low_ms, it.tpot_high_ms)
            writer.writerow([place, *(row.get(key) or "" for key in KEYS), *(f"{each:.6g}" for each in times)])
    return {"rows": len(rows), "unknown": len(unknown), "fitted_on": len(examples), "out": str(out)}


def told_once(unknown: Mapping[int, str]) -> dict[str, list[int]]:
    """Places of the rows, by what is wrong with them."""
    found: dict[str, list[int]] = {}
    for place, why in unknown.items():
        found.setdefault(why, []).append(place)
    return found


def of_all(examples: list[Example]) -> Prediction:
    """Quantiles of everything measured: what is said of a row that cannot be read. Few points may be alike, so the band is wide still."""
    import numpy as np

    (ttft, ttft_low, ttft_high), (tpot, tpot_low, tpot_high) = (
        np.quantile(times, (0.5, 0.1, 0.9)).tolist()
        for times in ([point.ttft_ms for _, point in examples], [point.tpot_ms for _, point in examples])
    )
    return Prediction(
        ttft_ms=ttft, ttft_low_ms=min(ttft_low, ttft / WIDE), ttft_high_ms=max(ttft_high, ttft * WIDE),
        tpot_ms=tpot, tpot_low_ms=min(tpot_low, tpot / WIDE), tpot_high_ms=max(tpot_high, tpot * WIDE),
    )  # fmt: skip


def ship(known: Path, out: Path) -> dict[str, object]:
    """The constants that Penstock carries, each run once."""
    import msgspec

    examples = examples_of(known / POINTS)
    dates = [row["last_measured"] for row in rows_of(known / POINTS) if row.get("last_measured")]
    origin = Origin(
        version="1", date=max(dates), source=SOURCE, licence=LICENCE, made_by="python -m bench.latency_model --ship FILE"
    )  # fmt: skip
    model = fit([(case.deployment, point) for case, point in examples], origin)
    content = msgspec.json.encode(model.document)
    out.write_bytes(content + b"\n")
    return {"points": len(examples), "bytes": len(content), "out": str(out)}


if __name__ == "__main__":
    main()
