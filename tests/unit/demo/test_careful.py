"""The route `careful` in the demo's thirty days: measured, then opened by the real law, and every call beside a request on the ledger."""

from collections import Counter
from functools import cache
from pathlib import Path
from statistics import fmean

from penstock.adapters.upstreams.simulated.known import known_answers
from penstock.demo import lookups
from penstock.demo.calendar import LEARNED_DAY, MEASURED_DAY, Calendar
from penstock.demo.firm import CAREFUL, FEATURES
from penstock.demo.questions import SCRIPTS
from penstock.domain.ledger.record import UsageRecord, is_aside
from penstock.domain.ledger.routed import Observation
from penstock.domain.routing.proving.fitting import fit
from penstock.domain.routing.proving.observation import loss_of
from penstock.finops.routing.learning import law_of, learned_routes
from tests.unit.demo.made import UNTIL_NS, history, task

CALENDAR = Calendar(UNTIL_NS)
TAGS = {feature.name for feature in FEATURES if feature.asks == CAREFUL}


@cache
def routed() -> tuple[UsageRecord, ...]:
    """Its requests that tiers answered after they were chosen with care."""
    return tuple(record for record in history() if record.route_decision is not None)


@cache
def observed() -> tuple[Observation, ...]:
    return tuple(record.observed for record in history() if record.observed is not None)


def kept_loss(observation: Observation, record: UsageRecord) -> float:
    """What the client lost by the tier that answered."""
    return loss_of(observation, record.tier or "") or 0.0


def test_three_features_go_by_the_route_and_only_they() -> None:
    assert {"triage", "documents", "hydraulics"} == TAGS
    assert {record.tags["feature"] for record in routed()} == TAGS == {each.tag for each in observed()}
    assert {record.strategy for record in routed()} == {"by_complexity", "learned"}
    days = Counter((CALENDAR.day_of(record.admitted_ns) >= LEARNED_DAY, record.strategy) for record in routed())
    assert set(days) == {(False, "by_complexity"), (True, "learned")}


def test_every_call_beside_a_request_names_it_and_costs() -> None:
    by_id = {record.id: record for record in routed()}
    asides = [record for record in history() if is_aside(record)]
    assert {record.purpose for record in asides} >= {"draft", "shadow"}
    for aside in asides:
        parent = by_id[aside.parent or ""]
        decision = parent.route_decision
        assert decision is not None and aside.tier != parent.tier and aside.tags == parent.tags
        assert aside.cost and aside.counterfactual == 0 and aside.admitted_ns == parent.admitted_ns
        asked = {tier for stage in decision.stages for tier in stage.tiers}
        assert (aside.tier in asked) is (aside.purpose in ("draft", "vote"))


def test_who_answered_is_who_the_stages_say() -> None:
    for record in routed():
        decision = record.route_decision
        assert decision is not None and decision.tag == record.tags["feature"]
        assert record.tier == decision.stages[-1].tiers[0] and decision.stages[-1].kept
        assert not any(stage.kept for stage in decision.stages[:-1])
        assert all(stage.confidence is not None for stage in decision.stages if stage.kind == "cascade")


def test_shadowed_requests_leave_one_observation_of_all_tiers() -> None:
    by_id = {record.id: record for record in routed()}
    shadowed = {record.id for record in routed() if record.route_decision and record.route_decision.shadowed}
    assert len(observed()) == len(shadowed) > 300 and {each.id for each in observed()} == shadowed
    for each in observed():
        decision = by_id[each.id].route_decision
        assert decision is not None and each.propensity == decision.shadow_propensity
        assert [seen.tier for seen in each.seen] == ["small", "medium", "large"] and each.seen[-1].quality == 1.0
        assert all(seen.cost and (seen.quality == 1.0) is (seen.answer == each.seen[-1].answer) for seen in each.seen)
    assert min(each.at_ns for each in observed()) >= CALENDAR.start_ns(MEASURED_DAY)


def test_the_controller_would_open_the_same_ways_from_this_evidence() -> None:
    settings = task().settings
    assert set(learned_routes(settings)) == {CAREFUL}
    policy = fit(law_of(settings, CAREFUL), observed(), {}, UNTIL_NS)
    assert set(policy.tags) == TAGS
    for tag in ("triage", "documents"):
        found = policy.tags[tag]
        assert found.state in ("proven", "expected") and found.cost_share is not None and found.cost_share < 0.5
    assert (policy.tags["hydraulics"].cost_share or 1.0) > 0.5, "what is hard stays with the large tier, most of the time"


def test_the_error_budget_was_kept_while_the_route_was_open() -> None:
    by_id = {record.id: record for record in routed() if record.strategy == "learned"}
    losses = [kept_loss(each, by_id[each.id]) for each in observed() if each.id in by_id]
    assert len(losses) > 100 and fmean(losses) < 0.045, "3 %, and what chance does to so few"
    small = Counter(record.tier for record in by_id.values() if record.tags["feature"] == "triage")
    assert small["large"] < 0.2 * small.total(), "easy questions stay with cheap tiers"


def test_the_engines_know_what_is_asked_and_how_hard_it_is(tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(lookups.file(), "utf-8")
    known = known_answers(str(path))
    for name in ("triage", "hydraulics"):
        script = SCRIPTS[name]
        for question in script.questions:
            for blank in script.blanks:
                found = known.answer_to(question.replace("{}", blank))
                assert found is not None and found.wrong and found.difficulty in lookups.DIFFICULTIES[name]
                assert found.say[0] not in found.wrong
