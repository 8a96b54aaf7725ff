"""What the ledger holds and how fast: append rate and bytes per record, a cost report, a month's bill, and the same history as Parquet.

`python -m bench.ledger [--records 1000000] [--stores sqlite,postgres] [--parts append,report,parquet] [--json]`. Records of thirty
days go through `take_in` in deliveries of 5,000, as the controller delivers them; bare `executemany` of the same rows is what that
is compared with. PostgreSQL is the one of the tests (`PENSTOCK_TEST_POSTGRES`).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.ledger_records import DAYS, deliveries
from bench.rig import machine

BARE_RECORDS = 100_000
BARS_S = {1_000_000: 0.5, 10_000_000: 2.0}
BAR_MB, BAR_BILL_S = 500.0, 30.0
BY = "team,feature,model"
CONFIG = """version = 1
[server]
store = "{store}"
journal = "{journal}"
[upstreams.own]
base_urls = ["http://127.0.0.1:8000/v1"]
[fleets.own]
upstream = "own"
gpu = "L40S"
count = 4
price = "0.79 USD/gpu-hour"
"""


MEASURED = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"\\n{code} {wall} {used.ru_utime + used.ru_stime} {used.ru_maxrss}", end="", file=sys.stderr)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--records", type=int, default=1_000_000, help="records in the ledger (default 1,000,000)")
    parser.add_argument("--stores", default="sqlite,postgres", help="which stores (default both)")
    parser.add_argument("--parts", default="append,report,parquet", help="what to measure; records are always appended")
    parser.add_argument("--directory", help="where to write (default: the temporary directory); 10 million records take about 12 GB")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "records": options.records, "stores": {}}
    for name in options.stores.split(","):
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=options.directory)))
            url = f"sqlite:///{scratch}/penstock.db" if name == "sqlite" else stack.enter_context(_postgres())
            if url:
                result["stores"][name] = measure(scratch, url, options)
    print(json.dumps(result, indent=2) if options.json else report(result))


def measure(scratch: Path, url: str, options: argparse.Namespace) -> dict[str, Any]:
    parts, until_ns = options.parts.split(","), time.time_ns()
    result: dict[str, Any] = {"append": append(scratch, url, options.records, until_ns)}
    config = scratch / "penstock.toml"
    config.write_text(CONFIG.format(store=url, journal=scratch / "journal"))
    result["allocate"] = allocated(config)
    if "append" in parts:
        result["append"]["bare_per_s"] = bare(scratch, url, until_ns)
    if "report" in parts:
        result["report"] = reports(config)
    if "parquet" in parts:
        result["parquet"] = sealed(scratch, url, until_ns)
    return result


def append(scratch: Path, url: str, records: int, until_ns: int) -> dict[str, Any]:
    """Every record once through `take_in`; the time in which records are made up is not counted."""
    from penstock.adapters.stores import open_store
    from penstock.ports.usage_store import Intake

    store, before = open_store(url), _bytes(scratch, url)
    store.prepare()
    taken = spent = last = 0.0
    for delivery in deliveries(records, until_ns):
        began = time.perf_counter()
        store.take_in(Intake(delivery, (), (), {"segment": int(taken)}))
        last = time.perf_counter() - began
        spent += last
        taken += len(delivery)
    store.flush()
    store.close()
    return {
        "records_per_s": taken / spent,
        "last_delivery_per_s": len(delivery) / last,
        "bytes_per_record": (_bytes(scratch, url) - before) / taken,
    }


def allocated(config: Path) -> dict[str, float]:
    """Closes every hour of the fleet, as the controller does between deliveries."""
    from penstock import bootstrap
    from penstock.config.load import load

    began, hours = time.perf_counter(), 0
    with bootstrap.open_allocator(load(config, os.environ)) as allocator:
        while done := allocator.step(time.time_ns()):
            hours += done
    return {"hours": hours, "s": time.perf_counter() - began}


def bare(scratch: Path, url: str, until_ns: int) -> float:
    """Records a second of `executemany` alone: the same rows, ready made, into a table without any index, a transaction per delivery."""
    from penstock.adapters.stores.columns import NAMES, row_of

    rows = [[row_of(record) for record in delivery] for delivery in deliveries(BARE_RECORDS, until_ns)]
    with _connected(f"sqlite:///{scratch}/bare.db" if url.startswith("sqlite") else url) as (db, mark):
        db.execute("CREATE TABLE bare AS SELECT * FROM records LIMIT 0" if mark == "%s" else f"CREATE TABLE bare ({', '.join(NAMES)})")
        insert = f"INSERT INTO bare ({', '.join(NAMES)}) VALUES ({', '.join([mark] * len(NAMES))})"
        began = time.perf_counter()
        for delivery in rows:
            db.cursor().executemany(insert, delivery)
            db.commit()
        spent = time.perf_counter() - began
        db.execute("DROP TABLE bare")
        db.commit()
    return sum(map(len, rows)) / spent


def reports(config: Path) -> dict[str, Any]:
    """The cost report, and the bills of the months that the records lie in, each as a process of its own; the best of three."""
    found = {"cost": _best(["cost", "--by", BY, "--since", "30d", "--json"], config, 3)}
    if " bill " in subprocess.run([sys.executable, "-m", "penstock", "--help"], capture_output=True, text=True, check=True).stdout:
        months = sorted({time.strftime("%Y-%m", time.gmtime(time.time() - day * 86_400)) for day in range(DAYS + 1)})
        found |= {f"bill {month}": _best(["bill", month, "--format", "json"], config, 1) for month in months}
    return found


def _best(words: list[str], config: Path, times: int) -> dict[str, float]:
    return min((_run(words, config) for _ in range(times)), key=lambda run: run["wall_s"])


def _run(words: list[str], config: Path) -> dict[str, float]:
    """Wall and CPU seconds and the peak memory of one command, told by a small process between: a large one hands its own peak down."""
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "penstock", *words, "--config", str(config)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    told, _, figures = run.stderr.rpartition("\n")
    code, wall_s, cpu_s, peak_kb = map(float, figures.split())
    if code not in (0, 4):
        sys.exit(f"error: `penstock {' '.join(words)}` ended with {code:g}\n{told}")
    return {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mb": peak_kb / 1024}


def sealed(scratch: Path, url: str, until_ns: int) -> dict[str, Any]:
    """All whole days into Parquet, then the same questions of what is sealed and of what was not yet."""
    from penstock.adapters.archive import archived, open_archive
    from penstock.adapters.stores import open_store
    from penstock.domain.ledger.measures import CostQuery
    from penstock.finops.sealing import Sealer

    place, store = scratch / "archive", open_store(url)
    both, archive = archived(store, str(place), url), open_archive(str(place), url)
    since_ns = until_ns - DAYS * 86_400 * 10**9
    cubed, by_user = (CostQuery(since_ns=since_ns, until_ns=until_ns, by=by) for by in (tuple(BY.split(",")), ("user",)))
    before = {"hot_by_user_s": _asked(both, by_user), "hot_by_cube_s": _asked(both, cubed)}
    sealer, began, steps, moved = Sealer(both, archive, 0, print), time.perf_counter(), [0.0], 0
    while True:
        at = time.perf_counter()
        if not (done := sealer.step(until_ns)):
            break
        moved += done
        steps.append(time.perf_counter() - at)
    spent = time.perf_counter() - began
    size = sum(file.stat().st_size for file in place.rglob("*.parquet"))
    return {
        "sealed": moved // 2,
        "bytes_per_record": size / max(moved // 2, 1),
        "sealed_per_s": moved / 2 / spent,
        "longest_step_s": max(steps),
        **before,
        "sealed_by_user_s": _asked(both, by_user),
        "sealed_by_cube_s": _asked(both, cubed),
        "by_files_alone_s": _timed(lambda: _files_alone(place, url, cubed)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _asked(store: Any, query: Any) -> float:
    def ask() -> None:
        with store.snapshot() as snapshot:
            snapshot.sums(query)

    return _timed(ask)


def _files_alone(place: Path, url: str, query: Any) -> None:
    """The Ibis expression in DuckDB over every file: no cube, no store."""
    from penstock.adapters.archive import sealed_files
    from penstock.adapters.archive.analytics import duckdb_source, sums

    with duckdb_source(*sealed_files(str(place), url)) as source:
        sums(source, query)


def _timed(act: Callable[[], None]) -> float:
    """Seconds of the better of two times."""
    spent = []
    for _ in range(2):
        began = time.perf_counter()
        act()
        spent.append(time.perf_counter() - began)
    return min(spent)


def _bytes(scratch: Path, url: str) -> int:
    if url.startswith("sqlite"):
        return sum(file.stat().st_size for file in scratch.glob("penstock.db*"))
    with _connected(url) as (db, _):
        [(size,)] = db.execute("SELECT pg_database_size(current_database())").fetchall()
    return int(size)


@contextmanager
def _connected(url: str) -> Iterator[tuple[Any, str]]:
    """A connection and its parameter mark."""
    if url.startswith("sqlite"):
        import sqlite3

        lite = sqlite3.connect(url.removeprefix("sqlite:///"))
        lite.execute("PRAGMA journal_mode = WAL")
        lite.execute("PRAGMA synchronous = NORMAL")
        try:
            yield lite, "?"
        finally:
            lite.close()
        return
    import psycopg

    with psycopg.connect(url) as db:
        yield db, "%s"


@contextmanager
def _postgres() -> Iterator[str]:
    """A database of this run's own; empty text, and a word about it, where there is no server."""
    import psycopg

    server = os.environ.get("PENSTOCK_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432/test")
    name = f"penstock_bench_{os.getpid()}"
    try:
        db = psycopg.connect(server, autocommit=True, connect_timeout=3)
    except psycopg.Error as problem:
        print(f"PostgreSQL is left out: {problem}", file=sys.stderr)
        yield ""
        return
    with db:
        db.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            db.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def report(result: dict[str, Any]) -> str:
    lines = [f"machine: {result['machine']}", f"{result['records']:,} records of {DAYS} days"]
    for name, store in result["stores"].items():
        lines.append("")
        row = store["append"]
        against = (
            f", bare executemany {row['bare_per_s']:,.0f}/s (ratio {row['records_per_s'] / row['bare_per_s']:.2f})"
            if "bare_per_s" in row
            else ""
        )
        lines.append(
            f"{name}: append {row['records_per_s']:,.0f} records/s, the last delivery {row['last_delivery_per_s']:,.0f}/s{against}; "
            f"{row['bytes_per_record']:,.0f} bytes a record"
        )
        lines.append(f"{name}: {store['allocate']['hours']:,} hours of a fleet allocated in {store['allocate']['s']:.1f} s")
        for command, run in store.get("report", {}).items():
            bar = BARS_S.get(result["records"]) if command == "cost" else BAR_BILL_S
            told = f" (bar {bar:g})" if bar else ""
            used = f"{run['cpu_s']:.2f} s CPU, {run['peak_mb']:,.0f} MB (bar {BAR_MB:g})"
            lines.append(f"{name}: penstock {command}: {run['wall_s']:.2f} s{told}, {used}")
        if "parquet" in store:
            row = store["parquet"]
            lines += [
                f"{name}: {row['sealed']:,} sealed at {row['sealed_per_s']:,.0f}/s, longest step {row['longest_step_s']:.2f} s, "
                f"{row['bytes_per_record']:,.0f} bytes a record in Parquet",
                f"{name}: by {BY} {row['hot_by_cube_s'] * 1000:,.0f} ms before, {row['sealed_by_cube_s'] * 1000:,.0f} ms after, "
                f"{row['by_files_alone_s'] * 1000:,.0f} ms from the files alone",
                f"{name}: by user {row['hot_by_user_s'] * 1000:,.0f} ms before, {row['sealed_by_user_s'] * 1000:,.0f} ms after; "
                f"peak {row['peak_mb']:,.0f} MB, making of records included",
            ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
