"""Requests one by one: labels are seen of shadowed ones only, and the policy follows what they show."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.routing_law import Decision, Learner, decide
from bench.routing_tables import Pool, Row, coin, manifest_of, pool_of, rows_of, tables_of

PARTS: Final = ("known", "unseen")
BETWEEN_NS: Final = 10**10
"""from one request to the next"""

Table = Mapping[str, Sequence[Row]]


class Step(msgspec.Struct, frozen=True):
    """One request of a stream. Costs in USD; `cost` has that of its shadow, too."""

    part: str
    pool: str
    id: str
    calls: list[str]
    served: str
    shadowed: bool
    loss: float
    cost: float
    strong_cost: float
    stratum: str
    """`way stratum` of what answered; `strong` where nothing else was asked"""


def play(
    parts: Sequence[Sequence[Row]], pools: Mapping[str, Pool], known: Table, error_budget: float, shadow: float, seed: int
) -> list[Step]:
    """`known`: graded rows by pool that the law may know from the beginning."""
    learners = {name: Learner(pool, error_budget, shadow, known.get(name, ())) for name, pool in pools.items()}
    seen: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    steps: list[Step] = []
    for name, rows in zip(PARTS, parts, strict=True):
        for row in random.Random(f"{seed} {name}").sample(list(rows), len(rows)):
            learner, pool = learners[row.pool], pools[row.pool]
            decision = decide(row, learner.policy, pool, seed)
            learner.heard(row, decision)
            seen[row.pool] += 1
            tag = learner.policy.of(row.tag)
            share = shadow if tag is None else tag.shadow
            # never more than the share of what has come so far, however many tags are new
            shadowed = coin("shadow", seed, row.id) < share and labels[row.pool] + 1 <= shadow * seen[row.pool]
            if shadowed:
                labels[row.pool] += 1
                decision.calls.extend(tier for tier in pool.tiers if tier in row.m and tier not in decision.calls)
                learner.labelled(row, share, len(steps) * BETWEEN_NS)
            steps.append(_step(name, row, pool, decision, shadowed))
    return steps


def _step(part: str, row: Row, pool: Pool, decision: Decision, shadowed: bool) -> Step:
    return Step(
        part=part, pool=row.pool, id=row.id, calls=decision.calls, served=decision.served, shadowed=shadowed,
        loss=row.quality(pool.strong) - row.quality(decision.served), cost=decision.cost(row), strong_cost=row.cost(pool.strong),
        stratum=" ".join(decision.stages[-1]) if decision.stages else "strong",
    )  # fmt: skip


def streams(
    files: Sequence[Path], train: Path | None, error_budget: float, shadow: float, seeds: Sequence[int], out: Path | None, workers: int
) -> dict[str, Any]:
    """Plays two files, once for each seed. `out`: where the requests of the first run go, in their order. Raises `TableError`."""
    parts = [rows_of(path, path.stem) for path in files]
    tables = {} if train is None else tables_of(train)
    manifest = manifest_of(files[0].parent if train is None else train)
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in (*parts[0], *parts[1]):
        rows[row.pool].append(row)
    pools = {name: pool_of(name, tables.get(name, rows[name]), manifest) for name in rows}
    runs = _played(parts, pools, tables, error_budget, shadow, seeds, workers)
    if out is not None:
        with out.open("w", encoding="utf-8") as file:
            for step in runs[0]:
                told = {"id": step.id, "calls": step.calls, "served": step.served, "shadowed": step.shadowed}
                file.write(json.dumps(told) + "\n")
    return {"seeds": list(seeds), "error_budget": error_budget, "shadow": shadow, "pools": summary(runs, error_budget)}


def _played(
    parts: Sequence[Sequence[Row]], pools: Mapping[str, Pool], known: Table, error_budget: float, shadow: float, seeds: Sequence[int],
    workers: int,
) -> list[list[Step]]:  # fmt: skip
    """One run for each seed."""
    jobs = [(parts, pools, known, error_budget, shadow, seed) for seed in seeds]
    if len(jobs) < 2:
        return [play(*job) for job in jobs]
    with ProcessPoolExecutor(workers) as processes:
        return list(processes.map(play, *zip(*jobs, strict=True)))


def summary(runs: Sequence[Sequence[Step]], error_budget: float) -> dict[str, Any]:
    """All requests, and each pool's where there are several: known half, unseen half, whole stream."""
    pools = sorted({step.pool for step in runs[0]})
    found = {"all": _parts(runs, error_budget)}
    if len(pools) > 1:
        for pool in pools:
            found[pool] = _parts([[step for step in run if step.pool == pool] for run in runs], error_budget)
    return found


def _parts(runs: Sequence[Sequence[Step]], error_budget: float) -> dict[str, Any]:
    found = {}
    for part in (*PARTS, "whole"):
        kept = [[step for step in run if part in (step.part, "whole")] for run in runs]
        if kept[0]:
            found[part] = _over_runs([_told(steps) for steps in kept], error_budget)
    return found


def _told(steps: Sequence[Step]) -> dict[str, Any]:
    return {
        "requests": len(steps),
        "loss": sum(step.loss for step in steps) / len(steps),
        "cost_share": sum(step.cost for step in steps) / sum(step.strong_cost for step in steps),
        "labels": sum(step.shadowed for step in steps) / len(steps),
        "strata": {name: times / len(steps) for name, times in Counter(step.stratum for step in steps).most_common()},
    }


def _over_runs(runs: Sequence[Mapping[str, Any]], error_budget: float) -> dict[str, Any]:
    """Means over runs; of the loss also its range and how often it was over the error budget."""
    strata: Counter[str] = Counter()
    for run in runs:
        strata.update(run["strata"])
    losses = [run["loss"] for run in runs]
    return {
        "requests": round(_mean([run["requests"] for run in runs])),
        "loss": _mean(losses),
        "least_loss": min(losses),
        "most_loss": max(losses),
        "over_budget": _mean([float(loss > error_budget) for loss in losses]),
        "cost_share": _mean([run["cost_share"] for run in runs]),
        "labels": _mean([run["labels"] for run in runs]),
        "strata": {name: share / len(runs) for name, share in strata.most_common()},
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def stream_report(result: Mapping[str, Any]) -> str:
    lines = [
        f"error budget {result['error_budget']:.1%}, labels of at most {result['shadow']:.1%} of the requests, {len(result['seeds'])} runs",
        "loss: mean against the strong model (least to most of a run); cost: of always asking the strong one, shadows included",
        *stream_lines(result["pools"]),
    ]
    return "\n".join(lines)


def stream_lines(pools: Mapping[str, Any]) -> Iterable[str]:
    yield f"{'pool':<14} {'half':<7} {'requests':>8} {'loss':>7} {'(runs)':>16} {'over':>5} {'cost':>6} {'labels':>7}  who answered"
    for pool, parts in pools.items():
        for part, told in parts.items():
            spread = f"({told['least_loss']:+.3f} to {told['most_loss']:+.3f})"
            strata = ", ".join(f"{name} {share:.0%}" for name, share in list(told["strata"].items())[:4])
            yield (
                f"{pool:<14} {part:<7} {told['requests']:>8,} {told['loss']:>+7.3f} {spread:>16} {told['over_budget']:>5.0%} "
                f"{told['cost_share']:>6.3f} {told['labels']:>7.1%}  {strata}"
            )
