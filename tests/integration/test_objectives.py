"""Objectives on a real ledger: missed, acted upon, met again; what is written down, what it was to bring and what it brought."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.units import format_usd
from penstock.finops.objectives.episodes import STANDS_NS, past_episodes
from penstock.finops.objectives.measuring import cp1kt, measure, objectives
from penstock.finops.statement import statement, whole
from penstock.finops.unit_costs import unit_costs
from tests.integration.objective_rig import CHEAP, DEAR, MINUTE, T0, Site

SLO = '[[slos]]\nname = "o"\nmetric = "cp1kt"\ntarget = "<= 0.004 USD"\nwindow = "1h"\n'
SHIFTS = SLO + 'where = { model = "dear" }\nrespond = ["shift_traffic:small", "notify:finops"]\n'


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


Make = Callable[..., Site]


@pytest.fixture
def site_of(tmp_path: Path) -> Iterator[Make]:
    """Makes a site over a store; the store is closed at the end."""
    with ExitStack() as stack:
        yield lambda url, slos, **runs: stack.enter_context(closing(Site(url, tmp_path, slos, **runs)))


@pytest.fixture
def lite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


def missed(site: Site) -> str:
    """An objective that is missed; returns what its requests carry from then on."""
    site.calls(50)
    site.step()
    (directive,) = site.standing()
    return directive.id


def test_missed_acted_upon_and_met_again(site_of: Make, url: str) -> None:
    site = site_of(url, SHIFTS)
    site.calls(40, tags={"sla": "critical"}, sla="critical")
    id = missed(site)
    (directive,) = site.standing()
    assert (directive.kind, directive.argument, directive.where) == ("shift_traffic", "small", {"model": "dear"})
    assert (directive.objective, directive.until_ns) == ("o", site.now + STANDS_NS)
    (begin,) = site.audit("directive.begin")
    assert (begin.actor, begin.subject) == ("objective:o", id)
    assert begin.details["expected_usd"] == format_usd(50 * (DEAR - CHEAP)), "critical requests stay where they are"
    ((recipients, message),) = site.messages
    assert recipients == ("finops",) and message.status == "firing" and "shift_traffic:small" in message.text
    assert message.details["long"] == {"cp1kt_usd": "0.010000000", "burn_rate": 2.5, "requests": 90, "unpriced": 0}

    for _ in range(4):
        site.now += 2 * MINUTE
        site.calls(100, "cheap", steered=id, steered_from="dear")
        site.step()
    assert site.standing() == [], "its own requests are cheap now: met"
    (end,) = site.audit("directive.end")
    assert end.details["measured_usd"] == format_usd(400 * (DEAR - CHEAP))
    assert [each.action for each in site.audit("objective")] == ["objective.missed", "objective.met"]
    assert [each.status for _, each in site.messages] == ["firing", "resolved"]
    assert any("it saved 0.054000000 USD" in line for line in site.log)
    (ended,) = site.told()["ended"]
    assert ended["measured_usd"] == "0.054000000" and ended["expected_usd"] == "0.006750000"

    site.calls(10, "cheap", steered=id, steered_from="dear")  # were under way when it ended
    assert site.told()["ended"][0]["measured_usd"] == "0.055350000"
    site.step(2 * HOUR_NS)
    assert past_episodes(site.documents)[0].settled and site.told()["ended"][0]["measured_usd"] == "0.055350000"


def test_calls_beside_requests_count_in_what_is_measured_and_not_in_what_steering_saves(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS)
    site.calls(7, purpose="shadow", parent="r0")
    id = missed(site)
    (begin,) = site.audit("directive.begin")
    assert begin.details["expected_usd"] == format_usd(50 * (DEAR - CHEAP)), "shadows are not steered"
    ((_, message),) = site.messages
    assert message.details["long"] == {"cp1kt_usd": "0.010000000", "burn_rate": 2.5, "requests": 57, "unpriced": 0}
    site.now += 2 * MINUTE
    site.calls(2, "cheap", steered=id, steered_from="dear")
    site.calls(3, "cheap", steered=id, steered_from="dear", purpose="draft", parent="r60")
    (response,) = site.told()["objectives"][0]["responses"]
    assert response["measured_usd"] == format_usd(2 * (DEAR - CHEAP))


def test_another_controller_goes_on_where_one_stopped(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS)
    id = missed(site)
    for _ in range(4):
        site.restart()
        site.now += 2 * MINUTE
        site.calls(100, "cheap", steered=id, steered_from="dear")
        site.step()
    assert [each.action for each in site.audit()] == ["objective.missed", "directive.begin", "objective.met", "directive.end"]
    assert len(site.messages) == 2 and site.standing() == []


def test_it_is_not_evaluated_more_often_than_it_says(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS)
    site.keeper._clock = lambda: 5.0
    site.step()
    site.calls(50)
    assert site.keeper.step(site.now) is None
    assert site.standing() == []


def test_a_dry_run_only_says_what_it_would_do(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS + "dry_run = true\n")
    site.calls(50)
    site.step()
    assert site.standing() == []
    assert site.audit("directive.begin")[0].details["dry_run"] is True
    assert "would begin, but for dry_run: shift_traffic:small" in site.messages[0][1].text
    for _ in range(3):
        site.now += 30 * MINUTE
        site.step()
    (end,) = site.audit("directive.end")
    assert (end.details["measured_usd"], end.details["measured_note"]) == (None, "nothing was done: dry run")
    assert "would end" in site.messages[1][1].text


def test_what_has_no_price_is_no_data_and_saves_nobody_knows_what(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS.replace('model = "dear"', 'upstream = "api"').replace("small", "large"))
    site.calls(100, "free")
    site.step()
    (told,) = site.told()["objectives"]
    assert (told["state"], told["long"]["cp1kt_usd"], told["long"]["unpriced"]) == ("no data", None, 100)

    other = SLO + 'where = { model = "dear" }\nrespond = ["shift_traffic:small"]\n'
    site.configure(other)
    id = missed(site)
    site.now += 2 * MINUTE
    site.calls(1, "free", steered=id, steered_from="dear")
    (response,) = site.told()["objectives"][0]["responses"]
    assert response["measured_usd"] is None and "1 of 1 steered requests have no price" in response["measured_note"]


def test_a_response_whose_objective_is_no_longer_there_is_lifted(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS)
    missed(site)
    site.configure("")
    site.step(MINUTE)
    assert site.standing() == [] and len(site.audit("directive.end")) == 1
    site.step(MINUTE)
    assert len(site.audit("directive.end")) == 1


def test_a_begin_that_was_cut_off_is_undone(site_of: Make, lite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of(lite, SHIFTS)
    site.calls(50)
    with monkeypatch.context() as patched:
        patched.setattr("penstock.finops.objectives.chore.save_account", cut_off)
        with pytest.raises(KeyboardInterrupt):
            site.step()
    assert site.standing() == []
    site.restart()
    site.step(MINUTE)
    assert len(site.standing()) == 1, "it is still missed"
    assert sorted(each.action for each in site.audit("directive")) == ["directive.begin", "directive.begin", "directive.end"]


def cut_off(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_gauges_show_what_was_measured_and_what_stands(site_of: Make, lite: str) -> None:
    site = site_of(lite, SHIFTS)
    missed(site)
    gauges = site.keeper.gauges()
    assert gauges["penstock_objective_burn_rate"] == [(("o", "long"), 2.5), (("o", "short"), 2.5)]
    assert gauges["penstock_directive_active"] == [(("o", "shift_traffic"), 1.0)]
    assert gauges["penstock_fleet_target_units"] == []


# own fleets

FLEET = """
[upstreams.own]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.l40s]
upstream = "own"
gpu = "L40S"
count = 8
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 800
{runs}
[models.mine]
upstream = "own"
"""
SCALES = SLO + 'where = {{ {where} }}\nrespond = ["scale_down:l40s", "shift_traffic:small", "notify:finops"]\n'
RENT = 790_000_000


def own_calls(site: Site, count: int, minutes_ago: int = 20) -> None:
    work = Tokens(1000, 0, 0, 1000, 0)
    site.calls(count, "mine", ago_s=60 * minutes_ago, upstream="own", fleet="l40s", tokens=work, duration_us=10**6, cost=None)


def test_own_fleets_are_measured_with_what_stands_idle(site_of: Make, lite: str) -> None:
    site = site_of(lite, FLEET.format(runs="") + SCALES.format(where='fleet = "l40s"'))
    site.now = T0 + HOUR_NS
    own_calls(site, 60, 60)
    (objective,) = objectives(site.settings)
    assert objective.with_idle
    with site.books(site.now) as books:
        reading = measure(books, objective, T0, site.now)
        query = CostQuery(since_ns=T0, until_ns=site.now, where=(("fleet", "l40s"),))
        allocated = unit_costs(whole(statement(books, query, "proportional"))).cp1kt_allocated
    assert (reading.cost, reading.tokens, reading.requests) == (8 * RENT, 120_000, 60), "they bear the whole rent"
    assert cp1kt(reading) == allocated


def test_a_fleet_larger_than_its_work_is_told_to_shrink_and_to_grow_with_its_load(site_of: Make, lite: str) -> None:
    site = site_of(lite, FLEET.format(runs="") + SCALES.format(where='fleet = "l40s"'))
    site.now = T0 + HOUR_NS
    own_calls(site, 1, 60)  # the ledger begins
    own_calls(site, 60, 2)
    site.step()
    (scaled,) = [each for each in site.standing() if each.kind == "scale_down"]
    assert (scaled.argument, scaled.target_units) == ("l40s", 3), "60,000 tokens in 5 minutes are the work of two, 80 % busy"
    (begin,) = [each for each in site.audit("directive.begin") if each.details["response"] == "scale_down:l40s"]
    assert begin.details["expected_usd"] == format_usd(5 * RENT) and begin.details["current_units"] == 8
    assert site.keeper.gauges()["penstock_fleet_target_units"] == [(("l40s",), 3.0)]

    site.now += MINUTE
    own_calls(site, 80, 1)
    site.step()
    (raised,) = [each for each in site.standing() if each.kind == "scale_down"]
    assert raised.target_units is not None and 3 < raised.target_units < 8, "its load has grown"
    (told,) = [each.details["responses"] for _, each in site.messages if each.labels.get("fleet") == "l40s"]
    assert (told[0]["current_units"], told[0]["target_units"]) == (8, raised.target_units)


def test_what_scaling_saved_is_known_where_runs_say_what_ran(site_of: Make, lite: str, tmp_path: Path) -> None:
    begin = T0 + HOUR_NS
    runs = ((0, 8), (begin + 10 * MINUTE, 2))
    file = tmp_path / "runs.csv"
    file.write_text("")
    fleet = FLEET.format(runs=f'runs = "{file}"')
    site = site_of(lite, fleet + SCALES.format(where='fleet = "l40s"'), l40s=runs)
    own_calls(site, 60, 60)
    own_calls(site, 1, 2)
    site.step()
    assert [each.target_units for each in site.standing() if each.kind == "scale_down"] == [1], "never to nothing"
    site.now = begin + 40 * MINUTE
    responses = site.told()["objectives"][0]["responses"]
    (scaled,) = [each for each in responses if each["response"] == "scale_down:l40s"]
    assert scaled["measured_usd"] == format_usd(6 * RENT // 2), "six units less for half an hour"


def test_what_is_committed_to_is_not_saved(site_of: Make, lite: str) -> None:
    committed = 'commitment = { kind = "reserved", term = "1y", hourly = "0.5", count = 6 }'
    site = site_of(lite, FLEET.format(runs=committed) + SCALES.format(where='fleet = "l40s"'))
    own_calls(site, 60, 60)
    own_calls(site, 1, 2)
    site.step()
    (begin,) = [each for each in site.audit("directive.begin") if each.details["response"] == "scale_down:l40s"]
    assert begin.details["expected_usd"] == format_usd(2 * RENT)


def test_a_fleet_that_is_filled_is_expected_to_take_the_others(site_of: Make, lite: str) -> None:
    filled = SLO + 'where = { model = "cheap" }\nrespond = ["shift_traffic:small"]\n'
    site = site_of(lite, filled)
    site.calls(40, "dear")
    (would,) = site.told(would=True)["objectives"][0]["would"]
    assert would["expected_usd"] == format_usd(40 * (DEAR - CHEAP)) and site.audit() == []
