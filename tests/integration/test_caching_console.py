"""The page of a request that the semantic cache decided on tells why, and its arithmetic holds with what the embedding cost."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from penstock import bootstrap
from penstock.config.settings import Settings
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import price_call
from penstock.domain.ledger.record import CacheDecision, UsageRecord
from tests.integration.console_rig import Rig, console, fill, settings_in

NS = 10**9


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_in(tmp_path)
    prices, now, tokens = bootstrap.price_book(settings), time.time_ns(), Tokens(1000, 0, 0, 200, 0)
    given: dict[str, Any] = {
        "endpoint": "chat.completions",
        "status": 200,
        "outcome": "ok",
        "model": "big",
        "upstream": "api",
        "duration_us": 9000,
    }
    priced = price_call(prices, "big", tokens, now)
    money: dict[str, Any] = {
        "price_id": priced.price_id, "price_version": priced.price_version, "list_cost": priced.list_cost, "counterfactual": priced.cost,
        "baseline": "big",
    }  # fmt: skip
    made = {"tokens": tokens, "cost": (priced.cost or 0) + 3000, "cost_basis": "measured", "embedding_cost": 3000}
    served = CacheDecision("served", "learned", "req_asked", 0.9731, 0.004, 0.01, 0.98, embedding_us=3100)
    refused = CacheDecision("refused", "learned", "req_asked", 0.96, 0.3, 0.01, 0.0, ("numbers",), embedding_us=2900)
    fill(settings, [
        UsageRecord(id="req_asked", admitted_ns=now - 7260 * NS, tags={"user": "anna"}, replica="r", **given | money | made),
        UsageRecord(
            id="req_hit", admitted_ns=now - 60 * NS, cache="semantic", cache_source="req_asked", cache_decision=served, recalled=tokens,
            cost=3000, embedding_cost=3000, **given | money,
        ),
        UsageRecord(id="req_other", admitted_ns=now - 30 * NS, cache_decision=refused, replica="r", **given | money | made),
    ])  # fmt: skip
    return settings


def why(rig: Rig, id: str) -> dict[str, Any]:
    status, _, body = rig.get(f"/requests/{id}.json")
    assert status == 200, body
    told: dict[str, Any] = json.loads(body)
    return told


def test_the_page_tells_why_an_answer_was_served(settings: Settings) -> None:
    with console(settings) as rig:
        told, page = why(rig, "req_hit"), rig.page("/requests/req_hit")
    decisions = {each["step"]: each for each in told["decisions"]}
    assert decisions["cache"]["outcome"] == "answered by the cache: a question that means the same was answered before"
    assert decisions["entry"] == {
        "step": "entry", "link": "/requests/req_asked", "link_words": "the request it came from",
        "outcome": "the answer of request req_asked, 2 h before, by user anna, from big",
    }  # fmt: skip
    assert decisions["similarity"]["outcome"] == "0.9731 (cosine)"
    assert told["request"]["cache_decision"]["risk"] == 0.004
    assert told["request"]["embedding_usd"] == "0.000003000"
    assert "the embedding that found it" in told["request"]["cost_note"]
    assert "to find its answer in the cache" in told["answer"]
    assert "98 % of such requests are answered so" in page
    assert page.count('href="/requests/req_asked"') == 1


def test_the_arithmetic_holds_with_what_the_embedding_cost(settings: Settings) -> None:
    with console(settings) as rig:
        told, page = why(rig, "req_other"), rig.page("/requests/req_other")
    cost = told["request"]["cost_sum"]
    assert cost is not None, told["request"]["cost_note"]
    assert "plus 0.000003000 USD for the embedding that looked into the cache" in told["request"]["cost_note"]
    assert "differ in numbers" in page
    assert "embedding that looked into the cache" in page


def test_nothing_is_told_of_a_cache_that_was_not_asked(settings: Settings) -> None:
    with console(settings) as rig:
        steps = [each["step"] for each in why(rig, "req_asked")["decisions"]]
    assert "by meaning" not in steps
