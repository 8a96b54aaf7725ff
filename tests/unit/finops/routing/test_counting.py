"""What is counted of strata, how it fades, and what a restart and other hosts leave of it."""

import math
from pathlib import Path

import pytest

from penstock.adapters.stores import open_documents
from penstock.finops.routing import counting
from penstock.finops.routing.counting import MEAN_NS, Counting
from penstock.ports.documents import Documents
from tests.unit.finops.routing.evidence import judged, routed

MINUTE = 60 * 10**9
AGREE, DIFFER = ("support", "gate:small+mid", "agree"), ("support", "gate:small+mid", "differ")


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return open_documents(f"sqlite:///{tmp_path / 'p.db'}")


def test_every_stage_of_a_request_is_counted_once(documents: Documents) -> None:
    counting = Counting(documents, "a", ["auto"])
    counting.observe([routed("1", judged()), routed("2", judged("differ", kept=False), judged("unsure", tiers=("mid",)))])
    assert counting.of("auto", 0) == {AGREE: 1.0, DIFFER: 1.0, ("support", "cascade:mid", "unsure"): 1.0}


def test_what_keeps_no_evidence_is_not_counted(documents: Documents) -> None:
    counting = Counting(documents, "a", ["auto"])
    counting.observe([routed("1", judged(), tag=None), routed("2", judged(), route="other")])
    assert counting.of("auto", 0) == {} and counting.of("other", 0) == {}


def test_counts_fade_and_are_forgotten(documents: Documents) -> None:
    counting = Counting(documents, "a", ["auto"])
    counting.observe([routed("1", judged())])
    assert counting.of("auto", MEAN_NS) == {AGREE: pytest.approx(math.exp(-1))}
    counting.observe([routed("2", judged(), at_ns=MEAN_NS)])
    assert counting.of("auto", MEAN_NS) == {AGREE: pytest.approx(1 + math.exp(-1))}
    assert counting.of("auto", 7 * MEAN_NS) == {}


def test_a_record_that_comes_late_counts_as_old_as_it_is(documents: Documents) -> None:
    counting = Counting(documents, "a", ["auto"])
    counting.observe([routed("1", judged(), at_ns=MEAN_NS), routed("2", judged(), at_ns=0)])
    assert counting.of("auto", MEAN_NS) == {AGREE: pytest.approx(1 + math.exp(-1))}


def test_a_restart_keeps_it_and_adds_to_it(documents: Documents) -> None:
    before = Counting(documents, "a", ["auto"])
    before.observe([routed("1", judged())])
    before.step(MINUTE)
    after = Counting(documents, "a", ["auto"])
    after.observe([routed("2", judged())])
    assert after.of("auto", MINUTE)[AGREE] == pytest.approx(2, rel=1e-3)
    after.step(2 * MINUTE)
    assert Counting(documents, "a", ["auto"]).of("auto", 2 * MINUTE)[AGREE] == pytest.approx(2, rel=1e-3)


def test_it_is_written_down_once_a_minute_and_only_when_changed(documents: Documents) -> None:
    counting = Counting(documents, "a", ["auto"])
    counting.observe([routed("1", judged())])
    counting.step(MINUTE)
    counting.observe([routed("2", judged())])
    counting.step(MINUTE + 1)
    assert documents.since("routing-counts")[0].at_ns == MINUTE
    counting.step(3 * MINUTE)
    counting.step(5 * MINUTE)
    assert documents.since("routing-counts")[0].at_ns == 3 * MINUTE


def test_hosts_are_added_up(documents: Documents) -> None:
    one, other = Counting(documents, "a", ["auto"]), Counting(documents, "b", ["auto"])
    one.observe([routed("1", judged())])
    other.observe([routed("2", judged()), routed("3", judged("differ"))])
    other.step(MINUTE)
    found = one.of("auto", MINUTE)
    assert found == pytest.approx({AGREE: 2, DIFFER: 1}, rel=1e-3)


def test_tags_of_clients_do_not_grow_without_end(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_TAGS", 2)
    counted = Counting(documents, "a", ["auto"])
    counted.observe([routed(str(number), judged(), tag=tag) for number, tag in enumerate("aabbc")])
    counted.step(MINUTE)
    assert {tag for tag, _, _ in counted.of("auto", MINUTE)} == {"a", "b"}
