"""From evidence to policy: what opens, what stays closed, what closes again."""

import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.proving.fitting import Prover, fit
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy
from tests.unit.routing.proving.tables import law, row, rows


def known(policy: RoutePolicy, tag: str) -> TagPolicy:
    found = policy.of(tag)
    assert found is not None
    return found


def firm(dice: random.Random, *, tags: int = 8, per_tag: int = 120) -> Iterator[Observation]:
    """Tags on which cheap tiers that agree are right, and those that differ are often wrong."""
    for number in range(tags):
        yield from rows(f"t{number}", per_tag, dice, agreed=0.6, lost_agreed=0.0, lost_differing=0.3)


def test_nothing_known_is_the_last_tier() -> None:
    policy = Prover(law()).policy(7)
    assert policy.at_ns == 7
    found = known(policy, "anything")
    assert (found.state, found.course.stages[0].tiers) == ("closed", ("large",))


def test_a_tier_that_never_loses_answers_alone_and_is_proven() -> None:
    policy = fit(law(), [row("easy", 1.0, at_ns=at) for at in range(600)], {}, 0)
    found = known(policy, "easy")
    assert found.state == "proven"
    assert (found.course.stages[0].kind, found.course.stages[0].tiers) == ("direct", ("small",))
    assert found.at_most is not None
    assert found.at_most <= 0.03
    assert found.cost_share == pytest.approx(0.05)


def test_a_few_good_labels_open_nothing() -> None:
    policy = fit(law(), [row("new", 1.0, at_ns=at) for at in range(5)], {}, 0)
    assert known(policy, "new").course.stages[0].tiers == ("large",)


def test_a_gate_opens_where_agreement_is_safe_and_its_rest_only_as_far_as_the_budget_bears() -> None:
    policy = fit(law(strategy="gate"), firm(random.Random(1)), {}, 0)
    stage = known(policy, "t0").course.stages[0]
    assert stage.kind == "gate"
    assert stage.share("agree") == 1.0
    assert 0 < stage.share("differ") < 0.5
    assert stage.share("failed") == 0.0
    assert known(policy, "t0").course.stages[-1].tiers == ("large",)
    expected = known(policy, "t0").expected_loss
    assert expected is not None
    assert 0 < expected <= 0.03


def test_a_tag_never_seen_goes_by_what_others_make_likely() -> None:
    policy = fit(law(strategy="gate"), firm(random.Random(2)), {}, 0)
    fresh = known(policy, "never seen")
    assert fresh.state in ("expected", "gated")
    assert fresh.course.stages[0].share("agree") == 1.0


def test_a_tag_never_seen_is_left_to_the_last_tier_where_answers_cannot_be_compared() -> None:
    dice = random.Random(3)
    mixed = [row(f"t{tag}", float(dice.random() > 0.15 * tag), agree=False, at_ns=at) for tag in range(6) for at in range(100)]
    assert known(fit(law(), mixed, {}, 0), "new").course.stages[0].tiers == ("large",)


def test_tags_that_differ_in_nothing_but_luck_are_treated_alike() -> None:
    policy = fit(
        law(),
        (each for tag in range(6) for each in rows(f"t{tag}", 150, random.Random(tag), agreed=1, lost_agreed=0.004, lost_differing=0)),
        {},
        0,
    )
    assert {known(policy, f"t{tag}").course.stages[0].kind for tag in range(6)} == {"direct"}


def test_a_change_for_the_worse_closes_what_was_open() -> None:
    prover, dice = Prover(law()), random.Random(4)
    for each in rows("faq", 400, dice, agreed=1.0, lost_agreed=0.0, lost_differing=0.0):
        prover.learn(each)
    assert known(prover.policy(0), "faq").state == "proven"
    alarmed = None
    for number, each in enumerate(rows("faq", 150, dice, agreed=1.0, lost_agreed=0.5, lost_differing=0.5)):
        prover.learn(each)
        if known(prover.policy(number), "faq").state == "alarm":
            alarmed = number
            break
    assert alarmed is not None
    assert alarmed < 30
    assert known(prover.policy(999), "faq").course.stages[0].tiers == ("large",)


def test_what_an_alarm_closed_opens_again_when_new_labels_are_good() -> None:
    prover, dice = Prover(law()), random.Random(5)
    for lost, count in ((0.0, 300), (0.6, 40), (0.0, 1200)):
        for each in rows("faq", count, dice, agreed=1.0, lost_agreed=lost, lost_differing=0.0):
            prover.learn(each)
    assert known(prover.policy(0), "faq").state in ("expected", "proven")


def test_evidence_of_another_model_is_not_used() -> None:
    old, new = {"small": "a@1", "mid": "b@1", "large": "c@1"}, {"small": "a@2", "mid": "b@1", "large": "c@1"}
    seen = [row("easy", 1.0, models=old, at_ns=at) for at in range(600)]
    assert known(fit(law(models=old), seen, {}, 0), "easy").state == "proven"
    assert known(fit(law(models=new), seen, {}, 0), "easy").state == "closed"


def test_what_a_judge_misses_widens_the_loss() -> None:
    def of(noise: float) -> float:
        dice = random.Random(6)
        seen = [row("faq", float(dice.random() > 0.01), noise=noise, judge="model", at_ns=at) for at in range(800)]
        expected = known(fit(law(0.1), seen, {}, 0), "faq").expected_loss
        assert expected is not None
        return expected

    assert of(0.3) > 1.3 * of(0.0) > 0


def test_the_same_evidence_gives_the_same_policy() -> None:
    seen = list(firm(random.Random(7)))
    assert fit(law(), seen, {}, 0) == fit(law(), seen, {}, 0)


def test_tags_together_are_opened_wider_but_a_new_one_does_not_live_on_them() -> None:
    def gaining() -> Iterator[Observation]:
        for at in range(300):
            yield row("wins", 1.0, large=0.8, agree=False, at_ns=at)
        yield from rows("loses", 300, random.Random(8), agreed=0.5, lost_agreed=0.0, lost_differing=0.2)
        yield from rows("new", 20, random.Random(9), agreed=0.5, lost_agreed=0.0, lost_differing=0.9)

    alone, together = fit(law(), gaining(), {}, 0), fit(law(together=True), gaining(), {}, 0)
    assert (known(together, "loses").cost_share or 1) < (known(alone, "loses").cost_share or 1)
    assert known(together, "new").course == known(alone, "new").course


def test_a_router_that_loses_to_a_fixed_split_is_off() -> None:
    """Its two cheap tiers are nearly as dear as the last one, so at its cost a split could ask the last one nearly always."""
    dice = random.Random(10)
    costs = {"small": 9_000, "mid": 9_000, "large": 20_000}
    seen = [row(f"t{at % 4}", float(dice.random() > 0.03), agree=dice.random() < 0.97, costs=costs, at_ns=at) for at in range(2_000)]
    policy = fit(law(0.1, strategy="gate"), seen, {}, 0)
    assert {known(policy, f"t{tag}").state for tag in range(4)} == {"off"}
    assert known(policy, "t0").course.stages[0].tiers == ("large",)


def test_what_is_off_leaves_a_tag_that_loses_more_with_the_last_tier() -> None:
    """The small tier is better than the last one on many tags that are hardly known, and worse on one that is."""
    dice = random.Random(11)

    def told(tag: str, small: float, large: float, at: int) -> Observation:
        each = row(tag, small, mid=0.0, large=large, at_ns=at)
        return msgspec.structs.replace(each, seen=tuple(msgspec.structs.replace(seen, answer=None) for seen in each.seen))

    seen = [told(f"few{at % 30}", 1.0, float(dice.random() > 0.3), at) for at in range(30 * 15)]
    seen += [told("bad", float(dice.random() > 0.3), 1.0, at) for at in range(60)]
    policy = fit(law(), seen, {}, 0)
    assert {known(policy, tag).state for tag in ("few0", "bad")} == {"off"}
    assert known(policy, "bad").course.stages[0].tiers == ("large",)


@pytest.mark.parametrize(
    "odd", [{"propensity": 0.0}, {"propensity": float("nan")}, {"noise": 1.0}, {"seen": row("easy", float("nan")).seen}]
)
def test_a_label_that_says_nothing_is_passed_over(odd: dict[str, Any]) -> None:
    seen = [row("easy", 1.0, at_ns=at) for at in range(300)]
    broken = msgspec.structs.replace(row("easy", 0.0, at_ns=300), **odd)
    assert fit(law(), [*seen, broken], {}, 0) == fit(law(), seen, {}, 0)


def test_tags_weigh_what_they_have_of_requests_whether_something_is_open_or_not() -> None:
    """Where nothing is open a request goes to the last tier directly: that counts, or a closed tag would look small."""
    dice = random.Random(12)
    seen = [
        row(tag, float(dice.random() > lost), agree=False, at_ns=at) for at in range(100) for tag, lost in (("good", 0.0), ("bad", 0.1))
    ]
    counts = {("good", "direct:small", "direct"): 5_000.0, ("bad", "direct:large", "direct"): 5_000.0}
    policy = fit(law(0.02, strategy="learned", together=True), seen, counts, 0)
    assert known(policy, "good").course.stages[0].tiers == ("small",)
    assert known(policy, "bad").course.stages[0].tiers == ("large",)


def test_parts_of_a_stratum_are_tested_one_after_the_other_where_something_is_gained() -> None:
    """Gains prove a wide opening sooner than the narrow ones before it."""
    seen = [row("faq", 1.0, large=float(at % 2), at_ns=at) for at in range(240)]
    early, late = (known(fit(law(strategy="gate"), seen[:count], {}, 0), "faq") for count in (60, 240))
    assert early.course.stages[0].share("agree") == late.course.stages[0].share("agree") == 1.0
    assert (early.state, late.state) == ("expected", "proven")


def test_many_tags_with_few_labels_are_read_in_a_moment() -> None:
    """Looking at all tags again and again would take minutes."""
    dice = random.Random(13)
    seen = [row(f"t{at % 1_500}", float(dice.random() > 0.02), agree=dice.random() < 0.8, at_ns=at) for at in range(4_500)]
    began = time.process_time()
    policy = fit(law(), seen, {}, 0)
    assert time.process_time() - began < 10
    assert len(policy.tags) == 1_500


def test_the_error_budget_holds_on_tags_that_are_like_each_other() -> None:
    """Of what it opens on tags whose truth is known, few lose more than the budget."""
    over = opened = 0
    for seed in range(8):
        dice = random.Random(seed)
        truth = {f"t{number}": dice.uniform(0.0, 0.06) for number in range(8)}
        seen = [row(tag, float(dice.random() > lost), agree=False, at_ns=at) for tag, lost in truth.items() for at in range(500)]
        policy = fit(law(), seen, {}, seed)
        for tag, lost in truth.items():
            if known(policy, tag).course.stages[0].kind == "direct" and known(policy, tag).course.stages[0].tiers != ("large",):
                opened += 1
                over += lost > 0.03
    assert opened >= 20
    assert over <= 0.2 * opened
