"""The product's law on tables: what is fitted on labelled rows, and how a row goes the course of its tag."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench.routing_tables import Calls, Pool, Row, TableError, coin, observation_of
from penstock.domain.ledger.routed import Stratum
from penstock.domain.routing.course import Course, Stage, stratum_of
from penstock.domain.routing.proving.fitting import Prover, fit
from penstock.domain.routing.proving.knowledge import Law
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy

A_POINT: Final = 0.01
"""error budget where a table is known"""
UNDER_SHIFT: Final = 0.03
"""error budget of a stream whose tasks change"""
SHADOW: Final = 0.05


class Decision(msgspec.Struct):
    """What became of a row. `stages`: (stage, stratum) of those that it went through."""

    id: str
    calls: list[str]
    served: str
    stages: list[tuple[str, Stratum]]

    def cost(self, row: Row) -> float:
        return sum(row.cost(model) for model in self.calls)


def law_of(pool: Pool, error_budget: float, shadow: float = SHADOW) -> Law:
    return Law(route=pool.name, tiers=pool.tiers, error_budget=error_budget, together=True, shadow=shadow, models=pool.models)


def trained(pool: Pool, rows: Sequence[Row], error_budget: float) -> RoutePolicy:
    """The policy that graded rows of all tiers lead to."""
    return fit(law_of(pool, error_budget), [observation_of(row, pool) for row in rows], {}, 0)


def course_of(tag_policy: TagPolicy | None, pool: Pool) -> Course:
    """Where nothing is known, the strong model answers."""
    return Course((Stage("direct", (pool.strong,)),)) if tag_policy is None else tag_policy.course


def decide(row: Row, policy: RoutePolicy | None, pool: Pool, seed: int = 0) -> Decision:
    """Goes the course of the row's tag. A tier that the row does not have is passed over.

    Raises `TableError` when the row lacks the strong one.
    """
    calls = Calls(row)
    if not calls.can(pool.strong):
        raise TableError(f"row {row.id} of {pool.name} lacks the strong model {pool.strong}: add it to the row, or name another one")
    course = course_of(None if policy is None else policy.of(row.tag), pool)
    stages: list[tuple[str, Stratum]] = []
    for at, stage in enumerate(course.stages):
        if not all(map(calls.can, stage.tiers)):
            continue
        for tier in stage.tiers:
            calls.ask(tier)
        stratum = stratum_of(stage, (), agree(calls, stage))
        stages.append((key_of(stage), stratum))
        if coin(seed, row.id, at) < stage.share(stratum):
            return Decision(row.id, calls.made, stage.tiers[0], stages)
    calls.ask(pool.strong)
    return Decision(row.id, calls.made, pool.strong, stages)


def key_of(stage: Stage) -> str:
    return f"{stage.kind}:{'+'.join(stage.tiers)}"


def agree(calls: Calls, stage: Stage) -> bool | None:
    """Whether the two tiers of a gate say the same; None: it is no gate, or there is nothing to compare."""
    if stage.kind != "gate":
        return None
    first, second = map(calls.answer, stage.tiers)
    return None if first is None or second is None else first == second


def told_of(policy: RoutePolicy) -> list[str]:
    """What is open on each tag that was seen, and on a fresh one: `gate:a+b (proven)`."""
    each = (*policy.tags.values(), *(() if policy.fresh is None else (policy.fresh,)))
    return [f"{key_of(tag.course.stages[0])} ({tag.state})" for tag in each]


class Learner:
    """What the controller does for one route: it takes in labels and counts, and makes the policy anew."""

    def __init__(self, pool: Pool, error_budget: float, shadow: float, known: Sequence[Row] = ()) -> None:
        self.pool = pool
        self._prover = Prover(law_of(pool, error_budget, shadow))
        for row in known:
            self._prover.learn(observation_of(row, pool))
        self.policy = self._prover.policy(0)

    def heard(self, row: Row, decision: Decision) -> None:
        for key, stratum in decision.stages:
            self._prover.saw(row.tag, key, stratum)

    def labelled(self, row: Row, propensity: float, now_ns: int) -> None:
        self._prover.learn(observation_of(row, self.pool, at_ns=now_ns, propensity=propensity))
        self.policy = self._prover.policy(now_ns)
