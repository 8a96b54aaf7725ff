"""Signals by hand, and a fleet that does at once what a scaler wants."""

from collections.abc import Iterable
from typing import Any

from penstock.domain.simulation.replica import Signals
from penstock.domain.simulation.scaling.policy import Policy


def signals(at_s: float = 0.0, ready: int = 1, **told: Any) -> Signals:
    """A quiet fleet, but for what is told."""
    quiet = {
        "starting": 0, "waiting": 0, "running": 0, "tokens_in_flight": 0, "token_capacity": 1000 * ready, "kv_use": 0.0, "active": 0.0,
        "ttft_p95_s": None, "arrivals": 0, "interval_s": 15.0,
    }  # fmt: skip
    return Signals(at_s=at_s, ready=ready, **(quiet | told))


def played(policy: Policy, ready: int, ticks: Iterable[dict[str, Any]]) -> list[int]:
    """Replicas after each tick, replicas starting within one."""
    scaler, counts = policy.begin(), []
    for number, told in enumerate(ticks):
        ready = scaler.desired(signals(number * policy.interval_s, ready, interval_s=policy.interval_s, **told))
        counts.append(ready)
    return counts


def changes(counts: list[int]) -> list[int]:
    """Each count once, as long as it stays."""
    return [count for at, count in enumerate(counts) if not at or count != counts[at - 1]]
