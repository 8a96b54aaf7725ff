"""Fleets and traces for the simulator's tests."""

from collections.abc import Sequence

import numpy as np

from penstock.domain.simulation.fleet import Fleet
from penstock.domain.simulation.replica import ReplicaKind, Signals, StepTimes
from penstock.domain.simulation.trace import Trace

TIMES = StepTimes(np.linspace(0.02, 0.0968, 257), 2e-7, 4e-5, 1e-9)


def kind_of(**values: object) -> ReplicaKind:
    """A mid-sized replica, unless said otherwise."""
    given: dict[str, object] = {"name": "h100", "times": TIMES, "kv_tokens": 400_000, **values}
    return ReplicaKind(**given)  # type: ignore[arg-type]


def fleet_of(*kinds: ReplicaKind, start: Sequence[int] = (1,), **values: object) -> Fleet:
    return Fleet(kinds=kinds or (kind_of(),), start=tuple(start), **values)  # type: ignore[arg-type]


def trace_of(arrivals: Sequence[float], prompt: int | Sequence[int] = 100, output: int | Sequence[int] = 10) -> Trace:
    n = len(arrivals)
    return Trace(
        np.array(arrivals, float), np.broadcast_to(prompt, n).astype(np.int64).copy(), np.broadcast_to(output, n).astype(np.int64).copy()
    )


def random_trace(seed: int, n: int, rate: float, prompt: int, output: int, block_tokens: int = 0) -> Trace:
    """Poisson arrivals, some at once, uniform lengths from 1; with `block_tokens`, prompts that share their begin with others."""
    dice = np.random.default_rng(seed)
    gaps = dice.exponential(1 / rate, n) * (dice.random(n) < 0.8)
    lengths = dice.integers(1, prompt + 1, n), dice.integers(1, output + 1, n)
    if not block_tokens:
        return Trace(np.cumsum(gaps), *lengths)
    starts, blocks, fresh = [0], [], 10_000
    for tokens in lengths[0]:
        count, story = -(-int(tokens) // block_tokens), int(dice.integers(0, 4))
        shared = min(int(dice.integers(0, count + 1)), 900)
        blocks += [story * 1_000 + at for at in range(shared)] + list(range(fresh, fresh + count - shared))
        fresh += count - shared
        starts.append(len(blocks))
    ids = np.unique(blocks, return_inverse=True)[1].astype(np.int64)
    return Trace(np.cumsum(gaps), *lengths, np.array(starts, np.int64), ids, block_tokens)


class Scripted:
    """A policy, and its own scaler, that asks for what a list says, tick by tick; it remembers what it was told."""

    name = "scripted"

    def __init__(self, interval_s: float, *desired: int) -> None:
        self.interval_s, self.script, self.told = interval_s, desired, list[Signals]()

    def begin(self) -> "Scripted":
        self.told = []
        return self

    def desired(self, signals: Signals) -> int:
        self.told.append(signals)
        return self.script[min(len(self.told), len(self.script)) - 1]
