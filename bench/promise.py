"""Whether the semantic cache keeps its promise: realised error against max_error over many streams, stationary and shifted.

`python -m bench.promise STREAM.jsonl [--seeds 20] [--requests 8000] [--jobs 2] [--left-out] [--json]`. STREAM is as in `bench.semcache`.
For every seed a stationary stream (requests drawn from all sources, in their order) and a shifted one (its first half from three sources,
its second half from the two others) are played at each max_error in 0.2, 0.5, 1 and 2 %; the seed also throws the coin of the probes. A run
breaks the promise when its false hits are more than max_error of its requests. `--left-out` plays each with trees that were fitted without
the sources of the second half (stationary: without one source), as if the product had never seen their kind; it needs scikit-learn.
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from bench.prior import Example, examples_of, fit
from bench.semcache import Cache, Embedding, play, rows_of, vectors_of
from penstock.domain.routing.similarity.judge import Prior
from penstock.ports.embedder import Vectors

MAX_ERRORS = (0.002, 0.005, 0.01, 0.02)
Rows = list[dict[str, str]]
_shared: dict[str, Any] = {}
"""what every process of the pool inherits: the rows and their vectors"""


class Run(msgspec.Struct, frozen=True):
    """One stream, played once."""

    kind: str
    seed: int
    max_error: float
    hits: float
    realised: float
    alarms: int

    @property
    def broken(self) -> bool:
        return self.realised > self.max_error


def stream_of(rows: Rows, kind: str, seed: int, most: int) -> tuple[Rows, list[str]]:
    """The stream of a seed, and the sources that are new to it."""
    random = Random(seed)
    sources = sorted({_source(row) for row in rows})
    new = random.sample(sources, 1 if kind == "stationary" else max(len(sources) * 2 // 5, 1))
    if kind == "stationary":
        chosen = sorted(random.sample(range(len(rows)), min(most, len(rows))))
        return [rows[at] for at in chosen], new
    parts = [[row for row in rows if (_source(row) in new) is late] for late in (False, True)]
    return [row for part in parts for row in _piece(part, most // 2, random)], new


def _piece(rows: Rows, most: int, random: Random) -> Rows:
    start = random.randrange(max(len(rows) - most, 0) + 1)
    return rows[start : start + most]


def _source(row: dict[str, str]) -> str:
    return row["label"].partition(":")[0]


def measure(kind: str, seed: int, max_error: float, most: int) -> Run:
    """One run, in a process of the pool."""
    rows, new = stream_of(_shared["rows"], kind, seed, most)
    cache = Cache(max_error, "learned", seed, _prior(new))
    total = sum(play(rows, _shared["vectors"], cache).values(), Counter[str]())
    alarms = cache.decider.standing().alarms
    return Run(kind, seed, max_error, total["hits"] / total["requests"], total["false_hits"] / total["requests"], alarms)


def _prior(new: Sequence[str]) -> Prior | None:
    examples: Sequence[Example] | None = _shared["examples"]
    return None if examples is None else fit([each for each in examples if each[0] not in new])


def table(runs: Sequence[Run]) -> str:
    lines = [f"{'stream':12}{'promised':>10}{'kept':>9}{'realised, mean':>16}{'highest':>10}{'hits':>9}{'alarms':>8}"]
    for kind in ("stationary", "shifted"):
        for promised in MAX_ERRORS:
            of = [run for run in runs if run.kind == kind and run.max_error == promised]
            kept = f"{sum(not run.broken for run in of)}/{len(of)}"
            realised = [run.realised for run in of]
            hits, alarms = statistics.mean(run.hits for run in of), sum(run.alarms for run in of)
            lines.append(
                f"{kind:12}{promised:>10.1%}{kept:>9}{statistics.mean(realised):>16.3%}{max(realised):>10.3%}{hits:>9.1%}{alarms:>8}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stream", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=8000, help="of one stream (default 8000)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--left-out", action="store_true", help="with trees that never saw what is new in the stream")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    rows = rows_of(options.stream)
    with Embedding() as embedding:
        vectors: dict[str, Vectors | None] = vectors_of(rows, embedding)
    _shared.update(rows=rows, vectors=vectors, examples=examples_of(rows, vectors) if options.left_out else None)
    asked = [
        (kind, seed, max_error, options.requests)
        for seed in range(options.seeds)
        for kind in ("stationary", "shifted")
        for max_error in MAX_ERRORS
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(measure, *zip(*asked, strict=True)))
    print(json.dumps(msgspec.to_builtins(runs), indent=2) if options.json else table(runs))


if __name__ == "__main__":
    main()
