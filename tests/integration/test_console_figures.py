"""Savings and Fleet over a real ledger: the twins add up, say what is not known, and agree with the other pages."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest

from penstock.console.figures.flow import Branch, flow
from tests.integration.console_rig import Rig, console, seeded


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings, _ = seeded(tmp_path_factory.mktemp("figures"), 800)
    with console(settings) as rig:
        yield rig


def asked(rig: Rig, target: str) -> Any:
    status, _, body = rig.get(target)
    assert status == 200, body
    return json.loads(body)


def test_the_levers_lead_from_the_baseline_to_what_was_paid(rig: Rig) -> None:
    page = asked(rig, "/savings.json")
    saved = sum(Decimal(lever["saved_usd"]) for lever in page["levers"])
    assert Decimal(page["counterfactual_usd"]) - saved == Decimal(page["paid_usd"])
    assert {lever["lever"]: lever["requests"] > 0 for lever in page["levers"]} == {
        "routing": True, "processing": False, "exact_cache": True, "normalised_cache": False, "semantic_cache": False,
        "embedding": False, "asides": False, "wasted_tries": True,
    }  # fmt: skip
    assert page["baselines"] == ["big"]
    for parts in (page["groups"], page["days"]):
        assert sum(Decimal(part["paid_usd"]) for part in parts) == Decimal(page["paid_usd"])


def test_paid_is_what_the_costs_page_says_was_booked(rig: Rig) -> None:
    page, costs = asked(rig, "/savings.json"), asked(rig, "/costs.json")
    assert Decimal(page["paid_usd"]) + Decimal(page["apart_cost_usd"]) == Decimal(costs["total"]["cost_usd"])
    assert "prompt cache" in rig.page("/savings") and ">processing class<" not in rig.page("/savings")


def test_a_filter_narrows_the_levers(rig: Rig) -> None:
    page = asked(rig, "/savings.json?where=feature=triage&by=cache")
    groups = {group["keys"]["cache"]: Decimal(group["levers_usd"]["exact_cache"]) for group in page["groups"]}
    assert groups["exact"] > 0
    assert groups["miss"] == 0


def test_the_page_draws_the_flow_and_defines_the_baseline(rig: Rig) -> None:
    body = rig.page("/savings")
    assert "lying-flow" in body and "standing-flow" in body
    assert "<details>" in body and "class by class" in body
    assert 'style="' not in body, "the policy lets no style through"


def test_the_sheets_hold_the_same(rig: Rig) -> None:
    rows = list(csv.DictReader(io.StringIO(rig.get("/savings.csv")[2])))
    assert sum(Decimal(row["paid_usd"]) for row in rows) == Decimal(asked(rig, "/savings.json")["paid_usd"])
    rows = list(csv.DictReader(io.StringIO(rig.get("/fleet.csv")[2])))
    assert [row["fleet"] for row in rows] == ["l40s", "a100-spare"]


def test_the_fleet_that_nobody_uses_jumps_out(rig: Rig) -> None:
    page = asked(rig, "/fleet.json")
    used, spare = page["fleets"]
    assert spare["requests"] == 0 and spare["utilization"] == 0
    assert spare["idle_usd"] == spare["rent_usd"]
    assert "a100-spare" in page["unused"]
    for fleet in page["fleets"]:
        parts = ("used_usd", "waste_usd", "idle_usd", "unused_commitment_usd")
        assert sum(Decimal(fleet[part]) for part in parts) == Decimal(fleet["rent_usd"])
        assert sum(Decimal(each["rent_usd"]) for each in fleet["over_time"]) == Decimal(fleet["rent_usd"])
        assert sum(Decimal(each["at_rest_usd"]) for each in fleet["over_time"]) == Decimal(fleet["at_rest_usd"])
    assert Decimal(used["used_usd"]) > 0 and Decimal(used["waste_usd"]) == 0
    assert used["used_basis"] == "planned"
    assert Decimal(page["rent_usd"]) == sum(Decimal(fleet["rent_usd"]) for fleet in page["fleets"])
    assert "a100-spare alone: no request has reached it" in page["answer"]
    assert "nobody uses it" in rig.page("/fleet")


def test_upstreams_say_how_they_are(rig: Rig) -> None:
    lines = {line["upstream"]: line for line in asked(rig, "/fleet.json")["lines"]}
    assert (lines["api"]["open_circuits"], lines["gpu"]["outstanding"]) == (1, 2)
    assert lines["gpu"]["first_token_p95_s"] > 0
    assert lines["spare"]["first_token_p95_s"] is None
    assert "left alone for a while" in rig.page("/fleet")


@pytest.mark.parametrize("amounts", [(), (0.0,), (60.0, 40.0), (10.0, -5.0, 3.0), (-1000.0,), (1e-12, 0.0, -1e-12), (100.0, 100.0, 100.0)])
@pytest.mark.parametrize("total", [0.0, 1e-9, 100.0, 1e12])
def test_any_flow_can_be_drawn(total: float, amounts: tuple[float, ...]) -> None:
    branches = [Branch(f"<{index}>", amount, "a", "b") for index, amount in enumerate(amounts)]
    drawn = str(flow(total, branches, ("1", "2"), ("3", "4"), "<title>", "said"))
    for svg in drawn.replace("</svg>", "</svg>\n").splitlines():
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert "nan" not in svg and "inf" not in svg


def test_idle_rent_counts_in_the_plan_and_adds_up_to_what_bills_say(rig: Rig) -> None:
    month = asked(rig, "/today.json")["month"]
    fleet = asked(rig, month["link"].replace("/fleet", "/fleet.json"))
    assert Decimal(month["idle_usd"]) == pytest.approx(Decimal(fleet["idle_usd"]), rel=Decimal("0.001"))
    assert Decimal(month["spent_usd"]) - Decimal(month["by_requests_usd"]) == pytest.approx(Decimal(month["idle_usd"]), rel=Decimal("0.2"))
    assert month["beside"].startswith("$") and "of it without a request" in month["beside"]
    assert f"{month['period']} $" in rig.page("/") and "of it without a request" in rig.page("/")


@pytest.mark.parametrize("rule", ["separate", "proportional", "even"])
@pytest.mark.parametrize("by", ["team", "feature,model", "day", "cache"])
def test_rows_and_lines_are_what_bills_say_whoever_bears_idle(rig: Rig, rule: str, by: str) -> None:
    month = f"since={time.strftime('%Y-%m-%d', time.gmtime(time.time() - 6 * 86_400))}&until={time.strftime('%Y-%m-%d', time.gmtime())}"
    costs = asked(rig, f"/costs.json?{month}&idle={rule}&by={by}")
    fleet = asked(rig, f"/fleet.json?{month}")
    lines, rows = sum(Decimal(line["rest_usd"]) for line in costs["lines"]), sum(Decimal(row["borne_usd"]) for row in costs["rows"])
    assert rows + lines == Decimal(costs["statement_usd"])
    assert rows == Decimal(costs["total"]["borne_usd"]) == sum(Decimal(part["usd"]) for part in costs["parts"])
    [api] = [Decimal(part["usd"]) for part in costs["parts"] if part["part"] == "api"]
    assert Decimal(costs["statement_usd"]) == api + Decimal(fleet["rent_usd"]), "every dollar: providers and landlords"
    idle = {each["fleet"]: Decimal(each["idle_usd"]) for each in fleet["fleets"]}
    rests = {line["name"]: Decimal(line["rest_usd"]) for line in costs["lines"]}
    assert rests == ({"a100-spare": idle["a100-spare"]} | ({"l40s": idle["l40s"]} if rule == "separate" else {}))
    shared = sum(Decimal(row["shared_usd"]) for row in costs["rows"])
    assert shared == (0 if rule == "separate" else idle["l40s"])
    filtered = asked(rig, f"/costs.json?{month}&idle={rule}&where=team=support")
    assert (filtered["statement_usd"], filtered["lines"]) == (None, [])


def test_a_group_bears_the_same_whoever_looks(rig: Rig) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    for rule in ("separate", "proportional"):
        window = f"since={day}&until={time.strftime('%Y-%m-%d', time.gmtime())}&idle={rule}"
        rows = {row["keys"]["team"]: row["borne_usd"] for row in asked(rig, f"/costs.json?{window}")["rows"]}
        alone = asked(rig, f"/costs.json?{window}&where=team=support&by=model")
        assert alone["total"]["borne_usd"] == rows["support"]


def test_the_page_says_who_bears_idle_and_leads_to_the_other_rules(rig: Rig) -> None:
    body = rig.page("/costs?idle=even&by=team")
    assert re.search(r'<a href="/costs\?by=team&amp;idle=even" aria-current="true">shared evenly</a>', body)
    assert "nobody used that fleet, so nobody shares it" in body, "the fleet that is spare"
    assert "of idle rent it holds a share" in body
    assert "of idle rent it holds nothing" in rig.page("/costs?by=team")
    assert rig.get("/costs?idle=never")[0] == 400
    table = list(csv.DictReader(io.StringIO(rig.get("/costs.csv?idle=proportional&since=48h")[2])))
    assert sum(Decimal(row["shared_usd"]) for row in table) > 0


def test_a_reading_leads_to_the_very_same_figure(rig: Rig) -> None:
    today = asked(rig, "/today.json")
    readings = {reading["name"]: reading for reading in today["readings"]}
    savings = asked(rig, readings["Saved"]["link"].replace("/savings", "/savings.json"))
    assert savings["saved_usd"] == readings["Saved"]["value"]
    costs = asked(rig, readings["CP1KT"]["link"].replace("/costs", "/costs.json"))
    assert costs["total"]["cp1kt_usd"] == readings["CP1KT"]["value"]
    fleet = asked(rig, readings["GPU use"]["link"].replace("/fleet", "/fleet.json"))
    assert [each["requests"] for each in fleet["fleets"]] == [each["requests"] for each in today["fleets"]]


def test_what_reads_every_record_says_so(rig: Rig) -> None:
    page = rig.page("/costs?by=user")
    assert "The window before this one is not compared with" in page
    assert "reads every record of its window" in page and "in the last 24 hours" in page
    assert "reads every record of its window" not in rig.page("/costs?by=team")
    assert 'title="Takes longer: reads every record of the window">user</a>' in rig.page("/savings")


def test_a_page_that_fails_says_so_and_is_logged(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("nobody expects this")

    monkeypatch.setattr("penstock.console.costs.statement", broken)
    status, headers, body = rig.get("/costs?by=sla", accept="text/html")
    assert (status, "The console failed at this page" in body) == (500, True)
    assert "content-security-policy" in headers and "ZeroDivisionError" not in body
    status, _, body = rig.get("/costs.json?by=sla")
    assert (status, json.loads(body)["error"]["type"]) == (500, "server_error")
    assert "GET '/costs.json'" in rig.logged[-1] and "nobody expects this" in rig.logged[-1] and "Traceback" in rig.logged[-1]
    assert rig.get("/requests")[0] == 200
