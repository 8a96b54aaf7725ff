"""What ways make of a request that all tiers have answered."""

import msgspec
import pytest

from penstock.domain.ledger.routed import Seen
from penstock.domain.routing.proving.observation import loss_of
from penstock.domain.routing.proving.ways import Way, outcome_of, ways_of
from tests.unit.routing.proving.tables import TIERS, row

GATE = Way("gate", ("small", "mid"))


def test_strategies_open_their_own_ways_only() -> None:
    assert [way.key for way in ways_of("cascade", TIERS, 0.85)] == ["cascade:small", "cascade:mid"]
    assert [way.key for way in ways_of("gate", TIERS, 0.85)] == ["gate:small+mid", "gate:mid+small"]
    assert {way.kind for way in ways_of("learned", TIERS, 0.85)} == {"direct", "cascade", "gate"}
    assert ways_of("learned", ("large",), 0.85) == ()


def test_a_gate_agrees_by_what_was_answered_and_costs_both_calls() -> None:
    same, other = outcome_of(GATE, row("a", 1.0)), outcome_of(GATE, row("a", 0.0, agree=False))
    assert same is not None
    assert other is not None
    assert (same.stratum, same.loss, same.cost) == ("agree", 0.0, 3_000)
    assert (other.stratum, other.loss) == ("differ", 1.0)


def test_what_failed_is_never_kept_whatever_it_says() -> None:
    given = row("a", 1.0)
    failed = msgspec.structs.replace(given, seen=(msgspec.structs.replace(given.seen[0], failed=True), *given.seen[1:]))
    found = outcome_of(GATE, failed)
    assert found is not None
    assert found.stratum == "failed"


@pytest.mark.parametrize(("confidence", "stratum"), [(0.9, "confident"), (0.85, "confident"), (0.84, "unsure")])
def test_a_cascade_goes_by_confidence(confidence: float, stratum: str) -> None:
    given = row("a", 1.0)
    told = msgspec.structs.replace(given, seen=(msgspec.structs.replace(given.seen[0], confidence=confidence), *given.seen[1:]))
    found = outcome_of(Way("cascade", ("small",), 0.85), told)
    assert found is not None
    assert found.stratum == stratum


def test_nothing_is_learned_of_a_way_from_what_does_not_show_what_it_goes_by() -> None:
    given = row("a", 1.0)
    mute = msgspec.structs.replace(given, seen=tuple(msgspec.structs.replace(seen, answer=None) for seen in given.seen))
    assert outcome_of(GATE, mute) is None
    assert outcome_of(Way("cascade", ("small",), 0.85), given) is None
    assert outcome_of(Way("direct", ("absent",)), given) is None


def test_losses_and_costs_that_are_unknown_stay_unknown() -> None:
    given = row("a", 1.0)
    unknown = msgspec.structs.replace(given, seen=(Seen(tier="small", answer="a"), *given.seen[1:]))
    found = outcome_of(GATE, unknown)
    assert found is not None
    assert found.loss is None
    assert found.cost is None
    assert loss_of(unknown, "small") is None
    assert loss_of(given, "mid") == 0.0
