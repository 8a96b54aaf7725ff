"""Whose word counts where labels contradict each other, and how far people's words go."""

import pytest

from penstock.domain.ledger.routed import Judge, Observation, Seen
from penstock.domain.routing.saying import said_of
from penstock.finops.routing.labels import settled
from tests.unit.finops.routing.evidence import DAY, EDITIONS, judged, label, routed

BUDGET = 0.03
MANY = {("support", "gate:small+mid", "agree"): 1000.0}


def said(id: str, score: float, at_ns: int = 0) -> Observation:
    found = said_of(routed(id, judged()), score, EDITIONS, at_ns)
    assert found is not None
    return found


def qualities(observation: Observation) -> tuple[float | None, ...]:
    return tuple(seen.quality for seen in observation.seen)


@pytest.mark.parametrize(
    ("judges", "stands"),
    [
        (("agreement", "model"), "model"),
        (("model", "agreement"), "model"),
        (("check", "model", "agreement"), "check"),
        (("feedback", "check"), "check"),
        (("feedback", "model"), "model"),
    ],
)
def test_the_stronger_judge_has_the_last_word(judges: tuple[Judge, ...], stands: str) -> None:
    labels = [label("1", 0.0 if judge == stands else 1.0, 1.0, 1.0, judge=judge, at_ns=at) for at, judge in enumerate(judges)]
    (found,) = settled(labels, MANY, BUDGET, 0)
    assert (found.judge, qualities(found)) == (stands, (0.0, 1.0, 1.0))


def test_of_one_judge_the_last_word_counts() -> None:
    (found,) = settled([label("1", 0.0, 1.0, 1.0, at_ns=2), label("1", 1.0, 1.0, 1.0, at_ns=1)], MANY, BUDGET, 0)
    assert qualities(found) == (0.0, 1.0, 1.0)


def test_a_person_goes_before_agreement_downwards_only() -> None:
    (worse,) = settled([label("1", 1.0, 1.0, 1.0), said("1", 0.0)], MANY, BUDGET, 0)
    assert qualities(worse) == (0.0, 1.0, 1.0)
    (as_it_was,) = settled([label("1", 0.0, 1.0, 1.0), said("1", 1.0)], MANY, BUDGET, 0)
    assert qualities(as_it_was) == (0.0, 1.0, 1.0)


def test_what_the_last_tier_says_too_was_not_lost_by_routing() -> None:
    (found,) = settled([label("1", 1.0, 1.0, 1.0, same=True), said("1", 0.0)], MANY, BUDGET, 0)
    assert qualities(found) == (1.0, 1.0, 1.0)


def test_complaints_are_labels_only_beyond_the_error_budget() -> None:
    complaints = [said(str(number), 0.0, number) for number in range(30)]
    assert settled(complaints, MANY, BUDGET, 0) == []
    assert settled(complaints, {("other", "gate:small+mid", "agree"): 1e6}, BUDGET, 0) != []
    found = settled([*complaints, said("30", 0.0)], MANY, BUDGET, 0)
    assert len(found) == 31
    assert {qualities(each) for each in found} == {(0.0, None, 1.0)}


def test_praise_is_no_label_and_takes_a_complaint_back() -> None:
    assert settled([said(str(number), 1.0) for number in range(100)], {}, BUDGET, 0) == []
    assert settled([said("1", 0.0, 1), said("1", 1.0, 2)], {}, BUDGET, 0) == []


def test_complaints_fade_as_requests_do() -> None:
    complaints = [said(str(number), 0.0) for number in range(31)]
    assert settled(complaints, MANY, BUDGET, 14 * DAY) == []


def test_it_is_told_oldest_first() -> None:
    found = settled([label("2", 1.0, 1.0, 1.0, at_ns=2), label("1", 1.0, 1.0, 1.0, at_ns=1)], MANY, BUDGET, 0)
    assert [each.id for each in found] == ["1", "2"]


def test_what_is_said_is_of_the_tier_that_answered() -> None:
    found = said_of(routed("1", judged("differ", tiers=("small", "mid"))), 0.25, EDITIONS, 7)
    assert found is not None
    assert (found.id, found.route, found.tag, found.judge, found.at_ns) == ("1", "auto", "support", "feedback", 7)
    small, mid, large = found.seen
    assert (small.quality, small.model, mid.quality, large) == (0.25, "m-small@1", None, Seen("large"))
    assert small.answer != mid.answer


def test_it_falls_into_the_stratum_of_its_stage() -> None:
    agreed, sure = said("1", 0.0), said_of(routed("2", judged("confident", tiers=("small",))), 0.0, EDITIONS, 0)
    assert agreed.seen[0].answer == agreed.seen[1].answer is not None
    assert sure is not None and (sure.seen[0].confidence, sure.seen[0].answer) == (0.9, None)


def test_where_routing_had_no_part_nothing_is_said() -> None:
    assert said_of(routed("1", judged(), tier="large"), 0.0, EDITIONS, 0) is None
    assert said_of(routed("1", judged(), tier="elsewhere"), 0.0, EDITIONS, 0) is None
    assert said_of(routed("1", judged(), tag=None), 0.0, EDITIONS, 0) is None
    assert said_of(routed("1"), 0.0, {}, 0) is None
