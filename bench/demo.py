"""How soon the demo shows something: its history into the ledger, and from the command to the first page, against their limits.

The history is seeded as `penstock demo` does it, by two processes into SQLite, roll-ups included; beside it the same records without
pricing and roll-ups, as bare rows into a bare table: the floor that SQLite sets. `python -m bench.demo [--json]`.
"""

import argparse
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.rig import get, machine

SEED_LIMIT_S, SCREEN_LIMIT_S = 8.0, 10.0
ADDRESS = re.compile(rb"http://[0-9.]+:[0-9]+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--runs", type=int, default=3, help="runs, of which the median counts (default 3)")
    options = parser.parse_args()
    result = measure(options.runs)
    print(json.dumps(result, indent=2) if options.json else report(result))


def measure(runs: int) -> dict[str, Any]:
    seeds, screens = [seeded() for _ in range(runs)], [first_screen() for _ in range(runs)]
    records = seeds[0][0]
    seed_s, bare_s = (statistics.median(run[at] for run in seeds) for at in (1, 2))
    return {
        "machine": machine(),
        "requests": records,
        "seed_s": seed_s,
        "seed_limit_s": SEED_LIMIT_S,
        "bare_insert_s": bare_s,
        "seed_over_bare": seed_s / bare_s,
        "first_screen_s": statistics.median(screens),
        "first_screen_limit_s": SCREEN_LIMIT_S,
    }


def seeded() -> tuple[int, float, float]:
    """Requests, seconds to seed them, seconds to insert the same rows into a table without anything else."""
    from penstock import bootstrap
    from penstock.config.load import load
    from penstock.demo import scenery
    from penstock.demo.history import Plan
    from penstock.demo.seeding import Task, seed

    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
        until = time.time_ns()
        settings = load(scenery.write(Path(scratch), "127.0.0.1:1", 7, until, scenery.FULL), os.environ)
        store = bootstrap.open_store(settings)
        began = time.perf_counter()
        records = seed(Task(Plan(7, until, scenery.FULL), settings, bootstrap.price_book(settings)), store, lambda taken: True)
        took = time.perf_counter() - began
        store.close()
        return records, took, _bare(Path(settings.server.store.removeprefix("sqlite:///")), Path(scratch) / "bare.db")


def _bare(ledger: Path, fresh: Path) -> float:
    source, target = sqlite3.connect(ledger), sqlite3.connect(fresh)
    rows = source.execute("SELECT * FROM records").fetchall()
    columns = [column[1] for column in source.execute("PRAGMA table_info(records)")]
    target.execute(f"CREATE TABLE records ({', '.join(columns)}, PRIMARY KEY (id))")
    began = time.perf_counter()
    with target:
        target.executemany(f"INSERT INTO records VALUES ({', '.join('?' * len(columns))})", rows)
    took = time.perf_counter() - began
    source.close()
    target.close()
    return took


def first_screen() -> float:
    """Seconds from the command to the first page, read whole."""
    began = time.perf_counter()
    demo = subprocess.Popen(
        [sys.executable, "-m", "penstock", "demo", "--seconds", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert demo.stderr is not None
        found = next(match for line in demo.stderr if (match := ADDRESS.search(line)))
        get(f"{found[0].decode()}/", 30)
        return time.perf_counter() - began
    finally:
        demo.terminate()
        demo.wait()


def report(result: dict[str, Any]) -> str:
    lines = [
        f"{result['machine']}; {result['requests']:,} requests",
        f"seeding            {result['seed_s']:6.1f} s   limit {SEED_LIMIT_S:g} s",
        f"the rows, bare     {result['bare_insert_s']:6.1f} s   seeding is {result['seed_over_bare']:.1f} x that",
        f"first page         {result['first_screen_s']:6.1f} s   limit {SCREEN_LIMIT_S:g} s",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
