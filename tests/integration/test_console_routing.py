"""The page Routing and its twins over a real ledger, its labels and its policy; and the words of a request that went over tiers."""

import csv
import io
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import bootstrap
from penstock.bootstrap.ledger import open_documents, open_evidence
from penstock.domain.ledger.routed import Judged
from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.finops.routing.publishing import KIND, published
from penstock.ports.audit_log import AuditEntry
from penstock.ports.documents import Document
from tests.integration.console_rig import Rig, console
from tests.integration.routed_rig import MODELS, TIERS, fill, gated, label, request, routed, routed_records, routed_settings


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with console(routed(tmp_path_factory.mktemp("routed"))) as rig:
        yield rig


def asked(rig: Rig, target: str) -> Any:
    status, _, body = rig.get(target)
    assert status == 200, body
    return json.loads(body)


def test_the_page_answers_its_question_and_says_what_that_rests_on(rig: Rig) -> None:
    page = asked(rig, "/routing.json")
    (route,) = page["routes"]
    found = route["route"]["all"]
    assert page["answer"].startswith("“auto” is expected to lose ") and "of the 3 % it may" in page["answer"].replace("\u202f", " ")
    assert found["requests"] == 120 and found["labels"] == 800
    assert found["low"] <= found["loss"] <= found["high"]
    assert route["route"]["policy_ns"] and route["route"]["whole"]
    assert rig.logged == []


def test_what_was_saved_counts_every_call_beside_requests(rig: Rig) -> None:
    """Prices of 1,000 tokens of input and 200 of output: 0.00018, 0.00054 and 0.0054 USD."""
    found = asked(rig, "/routing.json")["routes"][0]["route"]["all"]
    answers = 60 * Decimal("0.00018") + 20 * Decimal("0.0054") + 40 * Decimal("0.0054")
    beside = 80 * Decimal("0.00054") + 20 * Decimal("0.00018")
    measuring = 4 * Decimal("0.0054")
    assert Decimal(found["beside_usd"]) == beside and Decimal(found["measuring_usd"]) == measuring
    assert Decimal(found["cost_usd"]) == answers + beside + measuring
    assert Decimal(found["last_usd"]) == 120 * Decimal("0.0054")
    assert Decimal(found["saved_usd"]) == Decimal(found["last_usd"]) - Decimal(found["cost_usd"])


def test_tags_tell_their_rates_and_the_break_even(rig: Rig) -> None:
    chat, code = asked(rig, "/routing.json")["routes"][0]["route"]["tags"]
    assert (chat["tag"], chat["requests"], chat["escalation"], chat["agreement"]) == ("chat", 80, 0.25, 0.75)
    assert (code["tag"], code["escalation"], code["tiers"]) == ("code", None, {"large": 1.0})
    assert chat["tiers"] == {"small": 0.75, "large": 0.25}
    assert 0.8 < chat["break_even"] < 1 and chat["split"]["verdict"] == "wins"


def test_the_page_shows_the_figures_of_its_twin(rig: Rig) -> None:
    body = rig.page("/routing")
    assert "Are cheap answers good enough?" in body and 'aria-current="page">Routing</a>' in body
    for words in ("error budget 3", "It beats the best fixed split at ", "Its ladder", "The size that each feature needs"):
        assert words in body
    assert "pays while less than" in body and "would be right where the cheap tier costs 60 to 70 % of the next" in body
    rows = list(csv.DictReader(io.StringIO(rig.get("/routing.csv")[2])))
    assert [row["tag"] for row in rows] == ["chat", "code"]
    assert Decimal(rows[0]["saved_usd"]) > 0 and rows[1]["escalation"] == ""
    assert 'href="/routing"' in rig.page("/savings?since=24h")


def test_a_filter_narrows_the_traffic_not_what_is_known(rig: Rig) -> None:
    found = asked(rig, "/routing.json?where=feature=code")["routes"][0]["route"]
    assert found["all"]["requests"] == 40 and found["all"]["labels"] == 800
    assert {row["tag"]: row["requests"] for row in found["tags"]} == {"code": 40, "chat": 0}


def test_a_request_tells_its_way_over_the_tiers(tmp_path: Path) -> None:
    settings = routed_settings(tmp_path)
    records = gated(bootstrap.price_book(settings), time.time_ns(), 4, "chat")
    fill(settings, records)
    with console(settings) as rig:
        body = rig.page(f"/requests/{records[-1].id}")
    assert "asked small and mid at once: they differed (finish: it ended by itself), so small&#39;s answer is not kept" in body
    assert "none of such answers is kept" in body and "1.2 % of 3 %" in body
    assert '<a href="/routing">how this route fares</a>' in body


def test_who_answered_is_told_day_by_day(tmp_path: Path) -> None:
    settings = routed(tmp_path)
    earlier = routed_records(bootstrap.price_book(settings), time.time_ns() - 3 * 86_400 * 10**9, 40)
    fill(settings, earlier)
    with console(settings) as rig:
        body, days = rig.page("/routing?since=7d"), asked(rig, "/routing.json?since=7d")["routes"][0]["route"]["days"]
    assert "Who answered, day by day" in body and len(days) >= 2
    assert sum(sum(tiers.values()) for tiers in days.values()) == 180
    assert all(set(tiers) <= {"small", "large"} for tiers in days.values())


def test_an_alarm_comes_first(tmp_path: Path) -> None:
    settings = routed(tmp_path)
    documents = open_documents(settings)
    (policy,) = published(documents)
    alarmed = msgspec.structs.replace(policy.tags["chat"], state="alarm", expected_loss=None, loss_low=None, loss_high=None)
    changed = msgspec.structs.replace(policy, tags={**policy.tags, "chat": alarmed})
    documents.put(Document(KIND, "auto", policy.at_ns, msgspec.json.encode(changed).decode()))
    entry = AuditEntry(id="a1", at_ns=time.time_ns(), actor="penstock", action="routing.alarm", subject="auto/chat")
    bootstrap.open_audit(settings).write(entry)
    with console(settings) as rig:
        page, body = asked(rig, "/routing.json"), rig.page("/routing")
    assert page["answer"].startswith("Not of chat on auto, which an alarm has closed.")
    assert [each["tag"] for each in page["routes"][0]["alarms"]] == ["chat"]
    assert "chat: its labels show more loss than may be; large answers until they fit again" in body
    assert "Last alarm of chat" in body


def test_before_anything_came_the_page_says_how_to_begin(tmp_path: Path) -> None:
    settings = routed_settings(tmp_path)
    bootstrap.open_store(settings).close()
    with console(settings) as rig:
        page, body = asked(rig, "/routing.json"), rig.page("/routing")
    assert page["answer"] == "Nothing came over a route in the last 24 hours, and nothing was measured yet."
    (route,) = page["routes"]
    assert route["route"]["tags"] == [] and route["route"]["all"]["saved_usd"] is None
    assert [rung["quality"] for rung in route["ladder"]["rungs"]] == [None] * 3
    assert "a share (<code>shadow</code> of the route) is answered by all tiers" in body


def test_without_a_route_the_page_shows_one(tmp_path: Path) -> None:
    settings = routed_settings(tmp_path)
    settings = msgspec.structs.replace(settings, routes={})
    bootstrap.open_store(settings).close()
    with console(settings) as rig:
        body = rig.page("/routing")
        assert "[routes.auto]" in body and "penstock route try" in body
        assert "There is no route with tiers to choose from." in body


def test_signals_alone_promise_nothing(tmp_path: Path) -> None:
    settings = routed(tmp_path, strategy="cascade", route="")
    with console(settings) as rig:
        found, body = asked(rig, "/routing.json")["routes"][0]["route"], rig.page("/routing")
    assert {row["state"] for row in found["tags"]} == {"signals"} and found["error_budget"] is None
    assert "no error budget, so nothing is promised" in body
    assert found["tags"][0]["course"] == "small, kept where it is confident; else mid, kept where it is confident; else large"


def test_evidence_of_another_model_is_not_used(tmp_path: Path) -> None:
    settings = routed_settings(tmp_path, extra="")
    prices, now_ns = bootstrap.price_book(settings), time.time_ns()
    fill(settings, [request(prices, now_ns, 1, "chat", "large", Judged(kind="direct", tiers=("large",), stratum="direct", kept=True))])
    old = [label(number, "chat", (1.0, 1.0, 1.0), prices, now_ns) for number in range(30)]
    seen = [tuple(msgspec.structs.replace(each, model=f"{MODELS[each.tier]}@2024") for each in row.seen) for row in old]
    open_evidence(settings).add([msgspec.structs.replace(row, seen=each) for row, each in zip(old, seen, strict=True)])
    with console(settings) as rig:
        found = asked(rig, "/routing.json")["routes"][0]
    assert found["route"]["all"]["labels"] == 0
    assert [rung["tier"] for rung in found["ladder"]["rungs"] if rung["quality"] is None] == list(TIERS)


def test_a_policy_without_labels_is_shown_as_it_stands(tmp_path: Path) -> None:
    settings = routed_settings(tmp_path)
    bootstrap.open_store(settings).close()
    careful = RoutePolicy(route="auto", at_ns=1, error_budget=0.01, models={})
    policy = RoutePolicy(route="auto", at_ns=time.time_ns(), error_budget=0.03, models={}, sla={"premium": careful})
    open_documents(settings).put(Document(KIND, "auto", policy.at_ns, msgspec.json.encode(policy).decode()))
    with console(settings) as rig:
        assert asked(rig, "/routing.json")["routes"][0]["route"]["policy_ns"] == policy.at_ns
        assert "of sla premium 1" in rig.page("/routing")
