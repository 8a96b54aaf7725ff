"""What the cross-validation is held against."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from bench.routing_stream import PARTS

KEPT: Final = 0.9
"""share of the runs of a stream that keep the error budget"""
NEAR: Final = 0.01
CLOSE: Final = 0.1
"""of a cheaper model's mean quality to the strong one's: where none is, no saving is asked for"""
UNSEEN: Final = 0.015
UNSEEN_IN_A_POOL: Final = 0.03
UNSEEN_COST: Final = 0.85
KNOWN_COST: Final = 0.5
DECISION_MS: Final = 2.0


class Bar(msgspec.Struct, frozen=True):
    """`value` is at least the `limit`, or at most it."""

    name: str
    value: float
    limit: float
    holds: bool


def bars_of(pools: Mapping[str, Any], p99_ms: float, ours: str) -> list[Bar]:
    return [
        *_streams(pools),
        *_known(pools, ours),
        *_unseen(pools, ours),
        *_control(pools, ours),
        _most("a decision, p99, ms", p99_ms, DECISION_MS),
    ]


def _streams(pools: Mapping[str, Any]) -> Iterator[Bar]:
    for begin in ("stream", "stream_after_table"):
        for part in (PARTS[1], "whole"):
            kept = [1 - told[begin][part]["over_budget"] for told in pools.values()]
            yield _least(f"{begin}, {part}: share of runs within the error budget", sum(kept) / len(kept), KEPT)


def _known(pools: Mapping[str, Any], ours: str) -> Iterator[Bar]:
    for pool, told in pools.items():
        here = told["known"]
        yield _most(f"{pool}, known tasks: quality below the strong model", -here[ours]["quality_minus_strong"], NEAR)
        *cheaper, best = told["quality"].values()
        if max(cheaper) >= best - CLOSE:
            yield _most(f"{pool}, known tasks: share of its cost", here[ours]["cost_share"], KNOWN_COST)
        yield _least(f"{pool}, known tasks: quality above the task table, upper end", here["task table"]["ours_high"], 0.0)


def _unseen(pools: Mapping[str, Any], ours: str) -> Iterator[Bar]:
    here = {pool: told["unseen"] for pool, told in pools.items()}
    losses = [-each[ours]["quality_minus_strong"] for each in here.values()]
    yield _most("unseen tasks: quality below the strong model, mean of pools", sum(losses) / len(losses), UNSEEN)
    yield _most("unseen tasks: the same, worst pool", max(losses), UNSEEN_IN_A_POOL)
    compared = [each[ours]["cost_share"] for each in here.values() if each["gate"]["cost_share"] != 1]
    if compared:
        yield _most("unseen tasks: share of cost where answers can be compared", sum(compared) / len(compared), UNSEEN_COST)


def _control(pools: Mapping[str, Any], ours: str) -> Iterator[Bar]:
    for part in PARTS:
        worst = min(told[part][ours]["gain_high"] for told in pools.values())
        yield _least(f"{part} tasks: gain over the best fixed split, upper end, worst pool", worst, 0.0)


def _least(name: str, value: float, limit: float) -> Bar:
    return Bar(name, value, limit, value >= limit)


def _most(name: str, value: float, limit: float) -> Bar:
    return Bar(name, value, limit, value <= limit)


def bar_lines(bars: list[dict[str, Any]]) -> Iterator[str]:
    for bar in bars:
        yield f"{'holds' if bar['holds'] else 'FAILS':<6} {bar['value']:>+7.3f} ({bar['limit']:g})  {bar['name']}"
