"""Cross-validation on tables: known tasks and unseen ones, the law beside its peers, streams, and how long a decision takes."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from bench.routing_bars import DECISION_MS, bar_lines, bars_of
from bench.routing_frames import Choice, Floats, Frame, Indices, frame_of
from bench.routing_law import course_of, decide, trained
from bench.routing_peers import PEERS
from bench.routing_stream import Step, play, stream_lines, summary
from bench.routing_tables import Pool, Row, coin, manifest_of, pool_of, tables_of
from penstock.domain.routing.agreement.keys import answer_key
from penstock.domain.routing.complexity import complexity
from penstock.domain.routing.control import against_fixed_split
from penstock.domain.routing.proving.policy import RoutePolicy

FOLDS: Final = 5
RUNS: Final = 4
"""streams of a pool"""
RESAMPLES: Final = 1000
_TIMED: Final = 2000
"""decisions that are timed"""
_OURS: Final = "penstock"


def cross_validate(data: Path, error_budget: float, under_shift: float, shadow: float, seed: int, workers: int) -> dict[str, Any]:
    """All pools of a directory. `under_shift`: the error budget of streams. Raises `TableError`."""
    manifest = manifest_of(data)
    tables = tables_of(data)
    pools = {name: pool_of(name, rows, manifest) for name, rows in tables.items()}
    budgets = {_folds_of: error_budget, _streams_of: under_shift}
    parts = [(part, name) for name in tables for part in budgets]
    found: dict[str, Any] = {name: {} for name in tables}
    with ProcessPoolExecutor(workers) as processes:
        waiting = {processes.submit(part, pools[name], tables[name], budgets[part], shadow, seed): name for part, name in parts}
        for done, future in enumerate(as_completed(waiting), 1):
            found[waiting[future]] |= future.result()
            if sys.stderr.isatty():
                print(f"\r{done} of {len(parts)} parts", end="\n" if done == len(parts) else "", file=sys.stderr, flush=True)
    policies = {name: trained(pools[name], rows, error_budget) for name, rows in tables.items()}
    times = [_timed(row, policies[name], pools[name]) for name, rows in tables.items() for row in rows[: _TIMED // len(tables)]]
    told = {name: {"tiers": list(pools[name].tiers), "rows": len(tables[name]), **found[name]} for name in tables}
    p50, p99 = (float(each) for each in np.quantile(times, (0.5, 0.99)))
    return {
        "error_budget": error_budget,
        "under_shift": under_shift,
        "pools": told,
        "decision": {"p50_ms": p50, "p99_ms": p99, "of_bar": p99 / DECISION_MS},
        "bars": msgspec.to_builtins(bars_of(told, p99, _OURS)),
    }


def _folds_of(pool: Pool, rows: Sequence[Row], error_budget: float, shadow: float, seed: int) -> dict[str, Any]:
    """Known and unseen tasks of one pool, every row decided once by what the others tell."""
    frame = frame_of(pool, rows)
    order = np.random.default_rng(seed)
    return {
        "quality": dict(zip(pool.tiers, frame.quality.mean(0).tolist(), strict=True)),
        "known": _validated(frame, order.integers(0, FOLDS, len(frame.rows)), error_budget, seed),
        "unseen": _validated(frame, _whole_tasks(frame, order), error_budget, seed),
    }


def _whole_tasks(frame: Frame, rng: np.random.Generator) -> Indices:
    """The fold of each row, in which its whole task is."""
    tasks = rng.permutation(np.unique(frame.tags))
    fold = {str(task): at % FOLDS for at, task in enumerate(tasks)}
    return np.array([fold[str(tag)] for tag in frame.tags], dtype=np.intp)


def _validated(frame: Frame, folds: Indices, error_budget: float, seed: int) -> dict[str, Any]:
    count = len(frame.rows)
    chosen = {name: Choice(np.empty(count), np.empty(count)) for name in (_OURS, *PEERS)}
    for fold in np.unique(folds):
        apart = np.flatnonzero(folds == fold)
        train, test = frame.of(np.flatnonzero(folds != fold)), frame.of(apart)
        for name, choice in _choices(train, test, error_budget, seed):
            chosen[name].quality[apart], chosen[name].cost[apart] = choice.quality, choice.cost
    found = {name: _scored(frame, choice, seed) for name, choice in chosen.items()}
    for name, choice in chosen.items():
        low, high = _interval(chosen[_OURS].quality - choice.quality, seed)
        found[name] |= {"ours_better_by": float((chosen[_OURS].quality - choice.quality).mean()), "ours_low": low, "ours_high": high}
    return found


def _choices(train: Frame, test: Frame, error_budget: float, seed: int) -> Iterator[tuple[str, Choice]]:
    policy = trained(train.pool, train.rows, error_budget)
    made = [decide(row, policy, train.pool, seed) for row in test.rows]
    served = np.array([train.pool.tiers.index(each.served) for each in made])
    cost = np.array([each.cost(row) for each, row in zip(made, test.rows, strict=True)])
    yield _OURS, Choice(test.chosen(served).quality, cost)
    for name, peer in PEERS.items():
        yield name, peer(train, test, error_budget, np.random.default_rng(seed))


def _scored(frame: Frame, choice: Choice, seed: int) -> dict[str, Any]:
    low, high = _interval(choice.quality - frame.quality[:, -1], seed)
    control = against_fixed_split(choice.quality, choice.cost, frame.quality, frame.cost, np.random.default_rng(seed))
    return {
        "quality_minus_strong": -choice.loss(frame),
        "low": low,
        "high": high,
        "cost_share": choice.cost_share(frame),
        "gain_over_split": control.gain,
        "gain_low": control.low,
        "gain_high": control.high,
    }


def _interval(differences: Floats, seed: int) -> tuple[float, float]:
    """95 % of the mean of paired differences, by bootstrap."""
    rng = np.random.default_rng(seed)
    means = [differences[rng.integers(0, len(differences), len(differences))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _streams_of(pool: Pool, rows: Sequence[Row], error_budget: float, shadow: float, seed: int) -> dict[str, Any]:
    """Streams over one half of the tasks and then the other, cut anew for each run. They begin with nothing known; and again with half of
    the rows of the first tasks as a table, and the others to play."""
    begun: dict[str, list[list[Step]]] = {"stream": [], "stream_after_table": []}
    for run in range(seed, seed + RUNS):
        tasks = sorted({row.tag for row in rows}, key=lambda task: coin(run, task))
        first = set(tasks[: len(tasks) // 2])
        parts = [[row for row in rows if (row.tag in first) == known] for known in (True, False)]
        begun["stream"].append(play(parts, {pool.name: pool}, {}, error_budget, shadow, run))
        table = [row for row in parts[0] if coin("table", run, row.id) < 0.5]
        tabled = {row.id for row in table}
        left = [[row for row in parts[0] if row.id not in tabled], parts[1]]
        begun["stream_after_table"].append(play(left, {pool.name: pool}, {pool.name: table}, error_budget, shadow, run))
    return {name: summary(runs, error_budget)["all"] for name, runs in begun.items()}


def _timed(row: Row, policy: RoutePolicy, pool: Pool) -> float:
    """Milliseconds of CPU for one decision: the complexity, the course of the tag, and whether two answers agree."""
    answers = [str(row.m[tier].a or "") for tier in pool.tiers[:2] if tier in row.m]
    began = time.thread_time_ns()
    complexity(row.request)
    course_of(policy.of(row.tag), pool)
    {answer_key(answer, row.prompt) for answer in answers}
    return (time.thread_time_ns() - began) / 1e6


def folds_report(result: Mapping[str, Any]) -> str:
    return "\n".join(_report_lines(result))


def _report_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"error budget {result['error_budget']:.1%}; 95 % intervals by paired bootstrap; cost: of always asking the strong model"
    for pool, told in result["pools"].items():
        yield f"\n{pool}: {told['rows']:,} rows, {' < '.join(told['tiers'][:-1])} | {told['tiers'][-1]}"
        for part in ("known", "unseen"):
            heads = ("quality - strong", "gain over fixed split", "ours minus its quality")
            yield f"  {part + ' tasks':<14} {heads[0]:>24} {'cost':>6} {heads[1]:>24} {heads[2]:>24}"
            for name, each in told[part].items():
                gain, ours = _told(each, "gain_over_split", "gain_low", "gain_high"), _told(each, "ours_better_by", "ours_low", "ours_high")
                quality = _told(each, "quality_minus_strong", "low", "high")
                yield f"  {name:<14} {quality:>24} {each['cost_share']:>6.3f} {gain:>24} {ours:>24}"
    for name, begin in (("stream", "nothing known before them"), ("stream_after_table", "after a table of the known tasks")):
        yield f"\nStreams from known to unseen tasks, {begin}: {RUNS} runs, error budget {result['under_shift']:.1%}"
        yield from stream_lines({pool: told[name] for pool, told in result["pools"].items()})
    decision = result["decision"]
    yield f"\nA decision: {decision['p50_ms']:.2f} ms of CPU, p99 {decision['p99_ms']:.2f} ms\n"
    yield from bar_lines(result["bars"])


def _told(each: Mapping[str, float], value: str, low: str, high: str) -> str:
    return f"{each[value]:+.3f} [{each[low]:+.3f}, {each[high]:+.3f}]"
