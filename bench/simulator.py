"""How fast the simulator is, and whether it says what playing token by token says.

`python -m bench.simulator --requests N --trace FILE [--replicas 4 8 16] [--json]` replays the lengths, prefixes and gaps of a trace's
requests, over and over until there are N, at a rate that full batches would be 70 % busy with. CPU seconds are of one core; compiling
comes before, once in an installation's life, and is told apart. A second, shorter run is compared with the oracle of the tests, which
plays every step of every replica in plain Python.

`python -m bench.simulator [--data DIR] [--json]` does so for every trace of requests in a directory.

Steps are those of a 70B model with 16 bits on four H100 by a roofline (see `REPLICA`): speed depends on lengths and load, not on them.
Vidur: 7.6 ms of CPU a request on four replicas with the lengths of Azure's conversations, measured on one core (its default scheduler).
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from penstock.capacity.traces import read_trace
from penstock.domain.simulation.demand import speed
from penstock.domain.simulation.fleet import Fleet, simulate
from penstock.domain.simulation.replica import SERVED, ReplicaKind, StepTimes
from penstock.domain.simulation.trace import Floats, Trace, TraceError
from tests.unit.simulation.token_by_token import Oracle

DATA = Path(os.environ.get("PENSTOCK_DATA", "../shared/data"))
VIDUR_PER_CPU_S: Final = 131.0
SECONDS, MEGABYTES, TAIL = 60.0, 2_000.0, 0.05
"""the bars: of a million requests, of memory, of P99 TTFT"""
BUSY: Final = 0.7
EXACT_REQUESTS: Final = 1_500
SEQUENCES: Final = 256

# 140 GB of weights over 4 x 3.35 TB/s at 0.9 and 0.05 ms for each of 80 layers; 328 kB of keys and values a token; 140 GFLOP a token and
# 2.6 MFLOP for each pair of tokens, over 4 x 989 TFLOP/s at 0.5.
REPLICA: Final = ReplicaKind(
    name="70B on 4 x H100",
    times=StepTimes(np.linspace(0.0156, 0.0256, SEQUENCES + 1), 2.7e-8, 7.1e-5, 1.3e-9),
    kv_tokens=420_000,
    max_sequences=SEQUENCES,
    gpus=4,
)


RUNS: Final = "  replicas   CPU s   requests/CPU s   x Vidur   TTFT P50        P99   prefix reused   preempted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, metavar="FILE", help="requests to replay (any format that `penstock simulate` reads)")
    parser.add_argument("--requests", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--replicas", type=int, nargs="+", default=[4, 16], metavar="R")
    parser.add_argument("--routing", default="least_requests")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help=f"traces/* to replay (default PENSTOCK_DATA, else {DATA})")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.requests < 1 or min(given.replicas) < 1:
        parser.error("--requests and --replicas are 1 or more")
    files = [given.trace] if given.trace else traces_in(given.data)
    if not files:
        print(f"skipped: no traces in {given.data / 'traces'}; pass --trace FILE, --data DIR or set PENSTOCK_DATA", file=sys.stderr)
        return
    compile_s = compiled_in()
    try:
        found = [replayed(file, given.requests, given.replicas, given.routing) for file in files]
    except (TraceError, OSError) as problem:
        sys.exit(f"bench.simulator: {problem}")
    result = {"compile_cpu_s": round(compile_s, 1), "peak_rss_mb": round(peak_rss_mb()), "traces": found}
    result["bars"] = bars(found, given.requests)
    print(json.dumps(result, indent=2) if given.json else report(result))


def traces_in(data: Path) -> list[Path]:
    """Files of requests; tables of rates are something else."""
    return sorted(file for file in (data / "traces").glob("*") if file.suffix in (".csv", ".parquet") and "_rates" not in file.name)


def compiled_in() -> float:
    """CPU seconds until the machine code is there; next to none where an earlier process kept it."""
    before = time.process_time()
    tiny = Trace(np.array([0.0]), np.array([9]), np.array([2]), np.array([0, 1]), np.array([0]), 8)
    simulate(tiny, Fleet(kinds=(REPLICA,), start=(1,)))
    return time.process_time() - before


def peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def replayed(file: Path, requests: int, replicas: list[int], routing: str) -> dict[str, Any]:
    """The runs of one file."""
    known = read_trace(file).trace
    if not known.requests:
        raise TraceError(f"{file} has no request", "nothing can be timed with it")
    runs = [timed(repeated(known, requests, count), count, routing) for count in replicas]
    exact = compared(repeated(known, EXACT_REQUESTS, replicas[0]), replicas[0], routing)
    return {"trace": file.name, "requests": requests, "runs": runs, "exact": exact}


def repeated(known: Trace, requests: int, replicas: int) -> Trace:
    """The trace again and again, at a rate for so many replicas; prefixes of another round are others."""
    rounds = -(-requests // known.requests)
    rate = BUSY * replicas * speed(REPLICA, known)
    gaps = np.diff(known.arrival_s, prepend=0.0)
    gaps[0] = known.duration_s / max(known.requests - 1, 1)
    mean = float(gaps.mean()) or 1.0
    arrival: Floats = np.cumsum(np.tile(gaps / (mean * rate), rounds)[:requests])
    inputs, outputs = (np.tile(lengths, rounds)[:requests] for lengths in (known.input_tokens, known.output_tokens))
    if not len(known.block_start):
        return Trace(arrival, inputs, outputs)
    counts = np.tile(np.diff(known.block_start), rounds)[:requests]
    starts = np.concatenate(([0], np.cumsum(counts)))
    blocks = np.tile(known.blocks, rounds)[: starts[-1]]
    blocks += np.repeat(np.arange(rounds) * (int(known.blocks.max(initial=0)) + 1), len(known.blocks))[: starts[-1]]
    return Trace(arrival, inputs, outputs, starts, blocks, known.block_tokens)


def timed(trace: Trace, replicas: int, routing: str) -> dict[str, Any]:
    """One run, and what it took."""
    fleet = Fleet(kinds=(REPLICA,), start=(replicas,), routing=routing)  # type: ignore[arg-type]  # checked by the fleet
    before = time.process_time()
    run = simulate(trace, fleet)
    took = time.process_time() - before
    per_s = trace.requests / took
    served = run.outcome.fate == SERVED
    ttft = (run.outcome.first_token_s - trace.arrival_s)[served]
    return {
        "replicas": replicas,
        "cpu_s": round(took, 2),
        "requests_per_cpu_s": round(per_s),
        "times_vidur": round(per_s / VIDUR_PER_CPU_S),
        "times_real_time": round(run.end_s / took),
        "ttft_p50_s": tail(ttft, 50),
        "ttft_p99_s": tail(ttft, 99),
        "served": int(served.sum()),
        "preemptions": int(run.outcome.preemptions.sum()),
        "reused_share": round(float(run.outcome.reused_tokens.sum() / trace.input_tokens.sum()), 4),
        "kv_use": round(float(run.timeline.kv_use.mean()), 3),
        "peak_rss_mb": round(peak_rss_mb()),
    }


def tail(values: Floats, percentile: float) -> float | None:
    return float(np.percentile(values, percentile)) if len(values) else None


def compared(trace: Trace, replicas: int, routing: str) -> dict[str, Any]:
    """The first requests of the run, by the kernel and by the oracle."""
    fleet = Fleet(kinds=(REPLICA,), start=(replicas,), routing=routing)  # type: ignore[arg-type]  # checked by the fleet
    outcome = simulate(trace, fleet).outcome
    before = time.process_time()
    played = Oracle(trace, REPLICA, replicas, routing).play()
    took = time.process_time() - before
    exact = np.array([[asked.first_s, asked.finish_s] for asked in played])
    served = ~np.isnan(exact[:, 0])
    ours, theirs = (tail((first - trace.arrival_s)[served], 99) for first in (outcome.first_token_s, exact[:, 0]))
    apart = np.abs(np.column_stack((outcome.first_token_s, outcome.finish_s)) - exact)
    return {
        "requests": trace.requests,
        "replicas": replicas,
        "ttft_p99_s": ours,
        "exact_ttft_p99_s": theirs,
        "ttft_p99_error": abs(ours / theirs - 1) if ours and theirs else 0.0,
        "furthest_apart_s": float(np.nanmax(apart, initial=0.0)),
        "same_fate": bool((np.isnan(exact[:, 1]) == np.isnan(outcome.finish_s)).all()),
        "exact_cpu_s": round(took, 1),
    }


def bars(found: list[dict[str, Any]], requests: int) -> dict[str, Any]:
    """The bars, and what was reached: the slowest run, as if of a million requests."""
    slowest = max(run["cpu_s"] for trace in found for run in trace["runs"]) * 1_000_000 / requests
    worst = max(trace["exact"]["ttft_p99_error"] for trace in found)
    memory = max(run["peak_rss_mb"] for trace in found for run in trace["runs"])
    return {
        "cpu_s_of_a_million": {"at_most": SECONDS, "reached": round(slowest, 1), "met": slowest <= SECONDS},
        "peak_rss_mb": {"at_most": MEGABYTES, "reached": memory, "met": memory <= MEGABYTES},
        "ttft_p99_error": {"at_most": TAIL, "reached": worst, "met": worst <= TAIL},
    }


def report(result: dict[str, Any]) -> str:
    lines = [f"compiled in {result['compile_cpu_s']} CPU s; peak memory {result['peak_rss_mb']:,} MB; {REPLICA.name}, {BUSY:.0%} busy"]
    for trace in result["traces"]:
        lines += ["", f"{trace['trace']}: {trace['requests']:,} requests", RUNS]
        lines += [run_line(run) for run in trace["runs"]]
        exact = trace["exact"]
        lines += [
            f"  token by token ({exact['requests']:,} requests, {exact['replicas']} replicas): P99 TTFT "
            f"{seconds(exact['exact_ttft_p99_s'])}, ours {seconds(exact['ttft_p99_s'])}, furthest apart {exact['furthest_apart_s']:.1g} s"
        ]
    lines += [
        f"  {name:<20} {bar['reached']:>12.4g}   at most {bar['at_most']:g}   {'met' if bar['met'] else 'MISSED'}"
        for name, bar in result["bars"].items()
    ]
    return "\n".join(lines)


def run_line(run: dict[str, Any]) -> str:
    return (
        f"  {run['replicas']:>8} {run['cpu_s']:>7.1f} {run['requests_per_cpu_s']:>16,} {run['times_vidur']:>9,} "
        f"{seconds(run['ttft_p50_s']):>10} {seconds(run['ttft_p99_s']):>10} {run['reused_share']:>14.1%} {run['preemptions']:>11,}"
    )


def seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f} s"


if __name__ == "__main__":
    main()
