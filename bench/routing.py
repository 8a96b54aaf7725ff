"""What routing under an error budget saves and loses, on tables of graded answers of several models.

`python -m bench.routing --train DIR --rows FILE.jsonl --out decisions.jsonl [--error-budget 0.01]` fits the product's law on the tables
of a directory (`POOL.jsonl`: a line is `{"id", "pool", "task", "prompt", "m": {model: {"q", "c", "it", "ot", "a"}}}`, with quality `q`,
cost `c` in USD and, where answers can be compared, answer `a`; `manifest.json` may name the `strong` model of a pool) and decides the rows
of a file, which need no `q`. It writes `{"id", "calls": [models], "served": model}` for each. An answer is read only of a model that was
called, and each call costs.

`python -m bench.routing --stream KNOWN.jsonl UNSEEN.jsonl [--train DIR] [--error-budget 0.03] [--shadow 0.05] [--seeds 10] [--out FILE]`
plays one file after the other, each in random order. Labels are seen of shadowed rows only, whose further calls count as costs.

`python -m bench.routing [--data DIR]` is a cross-validation on the tables of a directory: known tasks (random parts) and unseen ones
(whole tasks held out), the law beside other ways of routing, then streams from known to unseen tasks, and how long a decision takes.

A route is a pool, a tag is a task; tiers are the models by mean cost, the strong one last. `--json` on each.
"""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is loaded: runs are parallel already

from bench.routing_folds import cross_validate, folds_report
from bench.routing_law import A_POINT, SHADOW, UNDER_SHIFT, decide, told_of, trained
from bench.routing_stream import stream_report, streams
from bench.routing_tables import TableError, manifest_of, pool_of, rows_of, tables_of

DATA = Path(os.environ.get("PENSTOCK_TABLES", "../shared/data/routing"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="DIR", help="tables that the law may know")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="rows to decide")
    parser.add_argument("--stream", type=Path, nargs=2, metavar=("KNOWN", "UNSEEN"), help="rows to play, with labels for shadows only")
    parser.add_argument(
        "--data", type=Path, default=DATA, metavar="DIR", help=f"tables of the cross-validation (default PENSTOCK_TABLES, else {DATA})"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where decisions go, a line a row")
    parser.add_argument(
        "--error-budget", type=float, metavar="X", help=f"mean loss that is accepted (default {A_POINT}, of streams {UNDER_SHIFT})"
    )
    parser.add_argument("--shadow", type=float, default=SHADOW, metavar="X", help=f"most rows that may be labelled, as a share ({SHADOW})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of a stream, each with a seed of its own")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.error_budget is not None and not 0 < given.error_budget <= 0.5:
        parser.error("--error-budget is a loss of quality above 0, 0.5 at most")
    if not 0 <= given.shadow <= 0.5:
        parser.error("--shadow is a share of requests from 0 to 0.5")
    try:
        run(given, parser)
    except TableError as error:
        sys.exit(f"bench.routing: {error}")


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if given.rows is not None:
        if given.train is None or given.out is None:
            parser.error("--rows needs --train DIR and --out FILE")
        summary = decide_rows(given.train, given.rows, given.out, given.error_budget or A_POINT)
        print(json.dumps(summary, indent=2) if given.json else f"{summary['rows']:,} rows decided: {given.out}")
    elif given.stream is not None:
        seeds = range(given.seed, given.seed + given.seeds)
        result = streams(given.stream, given.train, given.error_budget or UNDER_SHIFT, given.shadow, seeds, given.out, given.workers)
        print(json.dumps(result, indent=2) if given.json else stream_report(result))
    else:
        found = cross_validate(
            given.data, given.error_budget or A_POINT, given.error_budget or UNDER_SHIFT, given.shadow, given.seed, given.workers
        )
        print(json.dumps(found, indent=2) if given.json else folds_report(found))


def decide_rows(train: Path, rows: Path, out: Path, error_budget: float) -> dict[str, object]:
    """Decides every row of a file by what the tables say, in order; share of rows by who served and what was called."""
    tables, manifest = tables_of(train), manifest_of(train)
    asked = rows_of(rows, next(iter(tables)) if len(tables) == 1 else rows.stem)
    names = sorted({row.pool for row in asked})
    if unknown := [name for name in names if name not in tables]:
        raise TableError(f"{rows} has rows of {', '.join(unknown)}; {train} has tables of {', '.join(sorted(tables))} only")
    pools = {name: pool_of(name, tables[name], manifest) for name in names}
    policies = {name: trained(pools[name], tables[name], error_budget) for name in names}
    decisions = [decide(row, policies[row.pool], pools[row.pool]) for row in asked]
    with out.open("w", encoding="utf-8") as file:
        for made in decisions:
            file.write(json.dumps({"id": made.id, "calls": made.calls, "served": made.served}) + "\n")
    return {
        "rows": len(asked),
        "served": Counter(made.served for made in decisions),
        "ways": {name: Counter(told_of(policy)) for name, policy in policies.items()},
    }


if __name__ == "__main__":
    main()
