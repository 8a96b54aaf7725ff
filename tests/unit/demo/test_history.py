"""The thirty days before the demo: exact prices, a life-like rhythm, and the three things planted in it."""

from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise

import pytest

from penstock.demo import runaway
from penstock.demo.calendar import DAY_NS, DAYS, HOUR_NS, OUTAGE_HOURS, PRICE_DAY, RUNAWAY_DAY, VERSION_DAY, Calendar
from penstock.demo.firm import FEATURES, LARGE, MEDIUM
from penstock.domain.ledger.costing import counterfactual, price_call, price_recall
from penstock.domain.ledger.record import UsageRecord, is_aside
from tests.unit.demo.made import REQUESTS, UNTIL_NS, cost, history, task

CALENDAR = Calendar(UNTIL_NS)


def day_of(record: UsageRecord) -> int:
    return CALENDAR.day_of(record.admitted_ns)


def test_the_same_seed_makes_the_same_history() -> None:
    assert history(3, 2000) == history.__wrapped__(3, 2000)
    assert history(3, 2000) != history(4, 2000)


def test_it_is_as_long_as_asked_for_and_ends_where_the_demo_begins() -> None:
    records = history()
    assert abs(sum(not is_aside(record) for record in records) - REQUESTS) < REQUESTS * 0.02
    assert all(CALENDAR.since_ns <= record.admitted_ns < UNTIL_NS for record in records)
    assert records[0].admitted_ns - CALENDAR.since_ns < HOUR_NS
    assert UNTIL_NS - records[-1].admitted_ns < HOUR_NS


def test_records_come_in_order_and_their_ids_sort_as_they_do() -> None:
    records = history()
    assert all(before.admitted_ns <= after.admitted_ns for before, after in pairwise(records))
    assert all(int(record.id[4:16], 16) == record.admitted_ns // 10**6 for record in records)
    assert len({record.id for record in records}) == len(records)


def test_every_figure_is_the_price_books() -> None:
    book = task().book
    for record in history():
        if record.outcome != "ok" or record.wasted_cost:
            continue
        assert record.model is not None
        if record.cache == "exact":
            tokens, priced = record.recalled, price_recall(book, record.model, record.recalled, record.admitted_ns)
        else:
            tokens, priced = record.tokens, price_call(book, record.model, record.tokens, record.admitted_ns)
        assert (record.cost, record.list_cost, record.cost_basis) == (priced.cost, priced.list_cost, priced.cost_basis)
        assert (record.price_id, record.price_version) == (priced.price_id, priced.price_version)
        usual = counterfactual(book, LARGE, record.model, tokens, record.admitted_ns)
        assert record.counterfactual == (0 if is_aside(record) else usual)
    assert all(record.cost is not None for record in history())


def test_the_spend_is_tens_of_thousands_of_dollars_at_full_size() -> None:
    full = cost(lambda record: True) / 10**9 * 310_000 / REQUESTS
    tokens = sum(record.tokens.total for record in history())
    assert 12_000 < full < 40_000
    assert 0.001 < cost(lambda record: True) / 10**9 / tokens * 1000 < 0.01, "CP1KT"


def test_every_feature_is_there_and_a_little_is_tagged_by_nobody() -> None:
    features = Counter((record.tags.get("team"), record.tags.get("feature")) for record in history())
    untagged = features.pop((None, None))
    assert set(features) == {(feature.team, feature.name) for feature in FEATURES}
    assert 0.02 < untagged / len(history()) < 0.03


def test_token_counts_have_a_heavy_tail() -> None:
    asked = sorted(record.tokens.input for record in history() if record.tags.get("feature") == "code" and record.tags != runaway.TAGS)
    median = asked[len(asked) // 2]
    assert sum(asked) / len(asked) > 1.2 * median
    assert asked[-1] > 5 * median


def test_weekends_and_nights_are_quiet_and_the_firm_grows() -> None:
    usual = [record for record in history() if record.tags != runaway.TAGS]
    by_day = Counter(map(day_of, usual))
    weekend = [by_day[day] for day in range(1, DAYS) if CALENDAR.date(day).weekday() >= 5]
    weekdays = [by_day[day] for day in range(1, DAYS) if CALENDAR.date(day).weekday() < 5]
    assert max(weekend) < 0.6 * min(weekdays)
    assert sum(weekdays[-5:]) > 1.2 * sum(weekdays[:5])
    chats = Counter(record.admitted_ns % DAY_NS // HOUR_NS for record in usual if record.tags.get("feature") == "chat")
    assert chats[3] < 0.1 * chats[10]


def test_the_price_changes_on_its_day() -> None:
    versions = {
        day: {record.price_version for record in history() if record.model == LARGE and day_of(record) == day and record.price_version}
        for day in (PRICE_DAY - 1, PRICE_DAY)
    }
    assert versions[PRICE_DAY] == {CALENDAR.date(PRICE_DAY).isoformat()}
    assert len(versions[PRICE_DAY - 1]) == 1 and versions[PRICE_DAY - 1] != versions[PRICE_DAY]


def test_the_medium_model_gets_a_version_on_its_day() -> None:
    fresh = [record for record in history() if record.model == MEDIUM and record.cache != "exact"]
    assert {record.model_version for record in fresh if day_of(record) < VERSION_DAY} == {"2.0"}
    assert {record.model_version for record in fresh if day_of(record) >= VERSION_DAY} == {"2.1"}


def test_things_go_wrong_as_they_do() -> None:
    outcomes = Counter(record.outcome for record in history())
    assert set(outcomes) == {"ok", "refused", "error", "client_closed"}
    assert outcomes["ok"] > 0.98 * len(history())
    fallen = [record for record in history() if record.route == "medium>large" and record.route_decision is None]
    struck = sum(CALENDAR.in_outage(record.admitted_ns) for record in fallen)
    assert struck / len(OUTAGE_HOURS) > 20 * (len(fallen) - struck) / (DAYS * 24), "the outage stands out by the hour"
    assert all(record.model == LARGE and len(record.attempts) > 1 and record.attempts[-1].status == 200 for record in fallen)
    assert any(record.wasted_cost for record in fallen)
    assert all(record.cost == 0 and record.model is None for record in history() if record.outcome == "refused")


def test_a_replay_comes_after_its_source_and_costs_nothing() -> None:
    by_id = {record.id: record for record in history()}
    replays = [record for record in history() if record.cache == "exact"]
    assert len(replays) > 0.1 * len(history())
    for replay in replays:
        source = by_id[replay.cache_source or ""]
        assert source.admitted_ns <= replay.admitted_ns and source.tags["feature"] == replay.tags["feature"]
        assert (replay.cost, replay.tokens.total, replay.recalled) == (0, 0, source.tokens)


def test_planted_a_runaway_agent() -> None:
    def looped(record: UsageRecord) -> bool:
        return record.tags == runaway.TAGS and CALENDAR.runaway_from_ns <= record.admitted_ns < CALENDAR.runaway_until_ns

    loop = [record for record in history() if looped(record)]
    hours = (CALENDAR.runaway_until_ns - CALENDAR.runaway_from_ns) / HOUR_NS
    usual = [record for record in history() if record.tags.get("feature") == "code" and not looped(record)]
    per_hour = len(usual) / (DAYS * 24)
    assert len(loop) / hours > 8 * per_hour
    spent = sum(record.cost or 0 for record in loop)
    assert spent / 2 > 5 * sum(record.cost or 0 for record in usual) / DAYS, "each of the two days"
    assert {day_of(record) for record in loop} == {RUNAWAY_DAY, RUNAWAY_DAY + 1}
    steps = [record.tokens.input for record in loop if record.outcome == "ok"][10:60]
    assert steps[-1] > 2 * steps[0], "its context grows"


def test_planted_a_cache_that_pays() -> None:
    chats = [record for record in history() if record.tags.get("feature") == "chat"]
    replayed = [record for record in chats if record.cache == "exact"]
    assert 0.38 < len(replayed) / len(chats) < 0.5
    assert sum(record.list_cost or 0 for record in replayed) > 0.35 * sum(record.list_cost or 0 for record in chats)


def test_planted_a_gpu_that_nobody_uses() -> None:
    settings = task().settings
    unused = settings.fleets["h100"]
    assert unused.count == 2
    assert all(record.fleet != "h100" and record.upstream != unused.upstream for record in history())
    assert any(record.fleet == "l40s" for record in history())


@pytest.mark.parametrize("until", ["2026-03-01T00:00:00", "2024-02-29T23:59:59", "2027-01-01T12:00:00"])
def test_the_calendar_counts_days_back_from_its_end(until: str) -> None:
    moment = datetime.fromisoformat(until).replace(tzinfo=UTC)
    calendar = Calendar(int(moment.timestamp()) * 10**9)
    assert calendar.date(DAYS) == moment.date()
    assert calendar.day_of(calendar.until_ns) == DAYS
    assert calendar.day_of(calendar.since_ns) == 0
    assert calendar.start_ns(1) == int(datetime.combine(calendar.date(1), datetime.min.time(), UTC).timestamp()) * 10**9
    assert (calendar.date(DAYS) - calendar.date(0)).days == DAYS
    assert isinstance(calendar.date(PRICE_DAY), date)
