"""What the semantic cache's index costs: look-up, recall, putting a vector, memory, and the longest wait while a graph is begun.

`python -m bench.semindex [--sizes 1000 10000 100000] [--vectors FILE.npy] [--json]`. Vectors have 384 dimensions and lie in clusters of a
dozen, as questions do; `--vectors` takes real ones (length 1) instead, as many as there are. Each size runs in a process of its own, on
one thread. Between look-ups the processor's caches are emptied, as they are by the requests between them in a gateway; `warm` is without.
`decide` is the judgement of what a look-up found: eight neighbours, questions of nine words of which some differ, none seen before.
Recall is against all similarities. Memory is the growth of the process's resident set over what the imports take.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from bench.rig import machine, rss_mb
from penstock.adapters.indexes.partition import PartitionIndex
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Neighbour
from penstock.gateway.semantic.entries import NEIGHBOURS
from penstock.ports.embedder import Vectors

SIZES = (1_000, 10_000, 100_000)
DIMENSIONS = 384
CLUSTER, COMMON = 12, 48
"""vectors of a cluster; directions in which the clusters differ most"""
SPREAD, ASKED = 0.35, 0.5
"""how far vectors lie from the middle of their cluster, and questions from the vector that they are nearest to"""
LOOKUPS, MOST = 400, 5
BAR_MS, BAR_MB = 2.0, 400
"""a look-up at 10,000 with its decision; all that 100,000 entries take"""
ENVIRON = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""of the process that is measured: one thread, and memory that is given back leaves the resident set"""
_EMPTYING = 16 * 2**20


class Took(NamedTuple):
    """Milliseconds, of the processor and on the clock."""

    cpu: float
    wall: float


def clustered(count: int, dimensions: int = DIMENSIONS, seed: int = 1) -> Vectors:
    """Vectors of length 1 in clusters that are no better apart than different questions of one trade."""
    draw = np.random.default_rng(seed)
    clusters, common = max(count // CLUSTER, 1), min(COMMON, dimensions)
    shared = draw.standard_normal((common, dimensions)) / common**0.5
    middles = _unit(draw.standard_normal((clusters, common)) @ shared + 0.3 * draw.standard_normal((clusters, dimensions)))
    return _unit(middles[draw.integers(0, clusters, count)] + SPREAD / dimensions**0.5 * draw.standard_normal((count, dimensions)))


def asked(vectors: Vectors, count: int, seed: int = 2) -> Vectors:
    """Questions near some of the vectors."""
    draw = np.random.default_rng(seed)
    near = vectors[draw.integers(0, len(vectors), count)]
    return _unit(near + ASKED / vectors.shape[1] ** 0.5 * draw.standard_normal(near.shape))


def _unit(rows: Any) -> Vectors:
    ready: Vectors = np.ascontiguousarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
    return ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="entries of a partition (default 1000 10000 100000)")
    parser.add_argument("--vectors", type=Path, help="a file of numpy with real vectors of length 1")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.vectors)))
        return
    result = {"machine": machine(), "bars": {"ms_at_10000": BAR_MS, "mb_at_100000": BAR_MB}, "sizes": _each(options.sizes, options.vectors)}
    print(json.dumps(result, indent=2) if options.json else report(result))


def _each(sizes: Sequence[int], file: Path | None) -> dict[str, Any]:
    found = {}
    for size in sizes:
        command = [sys.executable, "-m", "bench.semindex", "--one", str(size), *(["--vectors", str(file)] if file else [])]
        found[str(size)] = json.loads(subprocess.run(command, env={**os.environ, **ENVIRON}, stdout=subprocess.PIPE, check=True).stdout)
    return found


def measure(size: int, file: Path | None) -> dict[str, Any]:
    """One size, in this process."""
    vectors = np.load(file)[: size + LOOKUPS] if file else clustered(size)
    vectors, queries = (vectors[:-LOOKUPS], vectors[-LOOKUPS:]) if file else (vectors, asked(vectors, LOOKUPS))
    PartitionIndex(graph_above=0).add(0, vectors[0])
    before = rss_mb(os.getpid())
    index, adding = PartitionIndex(), []
    for number, vector in enumerate(vectors):
        adding.append(_timed(lambda number=number, vector=vector: index.add(number, vector)))
    after = rss_mb(os.getpid())
    warm = [_timed(lambda query=query: index.search(query, MOST)) for query in queries]
    emptying, cold = np.ones(_EMPTYING, np.int8), []
    for query in queries:
        emptying += 1
        cold.append(_timed(lambda query=query: index.search(query, MOST)))
    decider, deciding = Decider("learned", 0.005, 0.95, 0.02), []
    for number, query in enumerate(queries):
        found = index.search(query, NEIGHBOURS)
        near = [Neighbour(str(each), _question(number, each), score, str(each)) for each, score in found]
        emptying += 1
        deciding.append(_timed(lambda number=number, near=near: decider.decide(_question(number, 0), near, 0.5)))
    return {
        "entries": len(index),
        "search_ms": _spread(cold),
        "decide_ms": _spread(deciding),
        "warm_search_ms": _spread(warm),
        "add_ms": _spread(adding) | {f"longest_{name}": round(max(getattr(took, name) for took in adding), 3) for name in Took._fields},
        **recall(index, vectors, queries),
        "rss_mb": round(after - before, 1),
        "said_mb": round(index.bytes / 2**20, 1),
    }


def _question(about: int, other: int) -> str:
    """Nine words; two of them depend on `other`, so that neighbours of one question differ from it and from each other."""
    draw = Random(about)
    words = ["".join(draw.choices("aeiourstln", k=6)) for _ in range(7)]
    return f"How do I {' '.join(words[:3])} {other % 97} for {' '.join(words[3:6])} {'aeiou'[other % 5] * 4}{words[6]}?"


def recall(index: PartitionIndex, vectors: Vectors, queries: Vectors) -> dict[str, float]:
    """Shares of the nearest, and of the five nearest, that are found; of equally near ones any counts."""
    first = five = 0
    for query in queries:
        best = np.sort(np.vecdot(vectors, query))[-MOST:]
        found = [score for _, score in index.search(query, MOST)]
        first += found[0] >= best[-1] - 1e-5
        five += sum(score >= best[0] - 1e-5 for score in found)
    return {"recall_at_1": first / len(queries), "recall_at_5": five / (MOST * len(queries))}


def _timed(call: Any) -> Took:
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    call()
    return Took((time.process_time_ns() - cpu) / 1e6, (time.perf_counter_ns() - wall) / 1e6)


def _spread(all_of_it: Sequence[Took]) -> dict[str, float]:
    told: dict[str, float] = {}
    for name, values in (("cpu", [took.cpu for took in all_of_it]), ("wall", [took.wall for took in all_of_it])):
        told |= {f"{name}_p{share}": round(float(np.percentile(values, share)), 3) for share in (50, 95, 99)}
    return told


def report(result: dict[str, Any]) -> str:
    lines = [
        result["machine"],
        f"{'entries':>8}  {'look-up ms, CPU':>16} {'clock':>13} {'warm':>13} {'decide':>13}  {'add ms, CPU':>13} {'longest':>8}",
    ]
    lines[-1] += f"  {'recall@1':>8} {'@5':>6}  {'MB':>6} {'said':>6}"
    for found in result["sizes"].values():
        search, warm, decide, add = found["search_ms"], found["warm_search_ms"], found["decide_ms"], found["add_ms"]
        shown = ((search, "cpu"), (search, "wall"), (warm, "cpu"), (decide, "cpu"))
        pairs = [f"{each[f'{kind}_p50']:.2f} / {each[f'{kind}_p95']:.2f}" for each, kind in shown]
        lines.append(
            f"{found['entries']:>8}  {pairs[0]:>16} {pairs[1]:>13} {pairs[2]:>13} {pairs[3]:>13}  "
            f"{add['cpu_p50']:.2f} / {add['cpu_p95']:.2f} "
            f"{add['longest_cpu']:>9.1f}  {found['recall_at_1']:>8.3f} {found['recall_at_5']:>6.3f}  "
            f"{found['rss_mb']:>6.1f} {found['said_mb']:>6.1f}"
        )
    lines.append(f"p50 / p95; bars: {BAR_MS:g} ms at 10,000 with the decision, {BAR_MB} MB at 100,000 with everything")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
