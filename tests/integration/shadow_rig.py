"""A route whose requests are all shadowed, and what stands on the journal of them."""

from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Observation
from tests.integration.gateway_rig import Rig
from tests.integration.upstream_rig import Scripted, answer, completion
from tests.integration.walking_rig import ladder

FOUR, FIVE = answer(completion("4")), answer(completion("5"))
BROKEN = answer({"error": {"message": "no"}}, 500)
EVIDENCE = 'error_budget = 0.03\nby = ["feature"]\nshadow = 0.5\n'
USER = {"penstock-tag-user": "ann", "penstock-tag-feature": "sums"}


def route(small: Scripted, mid: Scripted, large: Scripted, *, strategy: str = "learned", more: str = "", route: str = "") -> str:
    config = ladder(small.url, mid.url, large.url, "gate", EVIDENCE + route, more)
    return config.replace('strategy = "gate"', f'strategy = "{strategy}"')


def shadows(running: Rig) -> list[UsageRecord]:
    return [record for record in running.records if record.purpose is not None]


def observation(running: Rig) -> Observation:
    """The only one."""
    (found,) = [record.observed for record in running.records if record.observed is not None]
    return found


async def shadowed(running: Rig, **fields: object) -> None:
    await running.chat("2 + 2?", USER, model="auto", **fields)
    await running.settled()


def outcomes(running: Rig) -> dict[str, int]:
    assert running.gateway.shadows is not None
    return {outcome: count for _, outcome, count in running.gateway.shadows.gauges()}
