"""What every store of evidence does: one law over SQLite and PostgreSQL."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_evidence, open_store
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judge, Observation, Seen
from penstock.ports.evidence import EvidenceStore
from penstock.ports.usage_store import Intake, StoreError, UsageStore
from tests.contract.test_usage_store import execute
from tests.ledger_entries import OBSERVATION, record


@pytest.fixture
def evidence(url: str) -> EvidenceStore:
    return open_evidence(url)


def seen(id: str, at_ns: int = 1, route: str = "chat", judge: Judge = "check", quality: float = 1.0) -> Observation:
    tiers = (Seen("small", quality, 5, "digest", 0.9, model="small@1"), Seen("large", 1.0, 50))
    return Observation(id=id, at_ns=at_ns, route=route, tag="search / en", seen=tiers, judge=judge, propensity=0.05, noise=0.01, length=12)


def shadow(id: str, observed: Observation | None = None) -> UsageRecord:
    return record(id, purpose="shadow", parent="r", cost=3, observed=observed)


def take(store: UsageStore, *records: UsageRecord) -> int:
    return store.take_in(Intake(records, (), (), {}))


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OBSERVATION, max_size=6))
def test_what_is_added_comes_back(evidence: EvidenceStore, observations: list[Observation]) -> None:
    base = len(evidence.since(0))
    named = [msgspec.structs.replace(each, id=f"{base} {n}") for n, each in enumerate(observations)]
    assert evidence.add(named) == len(named)
    found = {(each.id, each.judge): each for each in evidence.since(0)}
    assert [found[each.id, each.judge] for each in named] == named


def test_another_of_the_same_request_and_judge_takes_its_place(evidence: EvidenceStore) -> None:
    assert evidence.add([seen("a"), seen("a", judge="feedback", quality=0.0)]) == 2
    better = seen("a", at_ns=5, route="other", quality=0.5)
    assert evidence.add([better, seen("b", at_ns=2)]) == 1
    assert evidence.since(0) == [seen("a", judge="feedback", quality=0.0), seen("b", at_ns=2), better]
    assert evidence.since(0, "other") == [better]
    assert evidence.add([]) == 0


def test_they_come_oldest_first_and_a_limit_keeps_the_newest(evidence: EvidenceStore) -> None:
    evidence.add([seen("c", 30), seen("a", 10), seen("b", 20), seen("z", 40, route="other")])
    assert [each.id for each in evidence.since(0)] == ["a", "b", "c", "z"]
    assert [each.id for each in evidence.since(20, "chat")] == ["b", "c"]
    assert [each.id for each in evidence.since(0, "chat", limit=2)] == ["b", "c"]
    assert [each.id for each in evidence.since(-(2**70), limit=0)] == []


def test_a_limit_leaves_no_label_out_for_what_people_say(evidence: EvidenceStore) -> None:
    evidence.add([seen("a", 10), seen("b", 20), *(seen(f"said {at}", at, judge="feedback") for at in range(30, 35))])
    assert [each.id for each in evidence.since(0, "chat", limit=2)] == ["a", "b", "said 33", "said 34"]


def test_what_stands_on_records_is_taken_in_with_them_once(store: UsageStore, evidence: EvidenceStore) -> None:
    first = seen("r", at_ns=7)
    assert take(store, record("r", cost=1), shadow("s1"), shadow("s2", first)) == 3
    assert evidence.since(0) == [first]
    corrected = seen("r", at_ns=7, quality=0.0)
    assert evidence.add([corrected]) == 0
    assert take(store, shadow("s2", first), shadow("s3", seen("r2", at_ns=8))) == 1, "delivered again beside a new one"
    assert evidence.since(0) == [corrected, seen("r2", at_ns=8)]
    with store.snapshot() as snapshot:
        assert [each.observed for each in snapshot.asides("r")] == [None, first, seen("r2", at_ns=8)]


def test_a_delivery_that_fails_leaves_no_evidence(store: UsageStore, evidence: EvidenceStore) -> None:
    with pytest.raises(StoreError):
        store.take_in(Intake([shadow("s", seen("r"))], (), (), {"w": object()}, {}))  # type: ignore[dict-item]
    assert evidence.since(0) == []


def test_odd_words_and_instants_are_made_storable(evidence: EvidenceStore, store: UsageStore) -> None:
    odd = msgspec.structs.replace(seen("a\0b", at_ns=2**70), tag="te\0am / x'; DROP TABLE records; --")
    assert evidence.add([odd]) == 1
    [found] = evidence.since(0)
    assert (found.tag, found.id) == ("te\ufffdam / x'; DROP TABLE records; --", "a\ufffdb")
    assert take(store, shadow("s", msgspec.structs.replace(odd, id="c"))) == 1
    assert len(evidence.since(0)) == 2


def test_looking_creates_nothing(url: str, evidence: EvidenceStore, tmp_path: Path) -> None:
    assert evidence.since(0) == []
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_before_says_so_until_it_is_brought_up_to_date(url: str, store: UsageStore, evidence: EvidenceStore) -> None:
    execute(url, "DROP TABLE observations")
    with pytest.raises(StoreError, match="older schema") as refusal:
        evidence.since(0)
    assert "penstock serve" in refusal.value.hint
    later = open_store(url)
    later.prepare()
    later.close()
    assert evidence.since(0) == []
