"""`penstock explain` of a request that a provider served and of one that own GPUs served: from tokens to dollars, nothing left over."""

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.bootstrap import open_allocator, open_store, price_book
from penstock.config.load import load
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import price_call
from penstock.domain.ledger.record import UsageRecord, WastedWork
from penstock.ports.usage_store import Intake
from tests.acceptance.command_line import penstock

CONFIG = """
version = 1
[upstreams.provider]
base_urls = ["http://127.0.0.1:9/v1"]
provider = "somebody"
[upstreams.own]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.l40s]
upstream = "own"
gpu = "L40S"
count = 2
price = "0.79 USD/gpu-hour"
planned_tokens_per_second = 100
[models.large]
upstream = "provider"
price = { input = 3, cached_input = 0.3, cache_write = 3.75, cache_write_1h = 6, output = 15, web_search = 10, processing = { batch = { input = 1.5, cached_input = 0.15, cache_write = 1.875, cache_write_1h = 3, output = 7.5, web_search = 10 } } }
[models.small]
upstream = "own"
"""  # noqa: E501  an inline table stands on one line
HOUR_NS = 3_600 * 10**9
T0 = 496_000 * HOUR_NS
"""2026-08-01 16:00, long closed"""
MIXED = Tokens(1_000, 200, 500, 300, 100)
PARTS = {"cache_write_1h": 400, "web_searches": 2, "input_audio": 50}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and a store whose hours are closed."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "penstock.toml").write_text(CONFIG)
    settings = load(folder / "penstock.toml", {})
    prices = price_book(settings)

    def record(id: str, minute: int, model: str, tokens: Tokens, **fields: Any) -> UsageRecord:
        at, parts, processing = T0 + minute * 60 * 10**9, fields.get("parts", {}), fields.get("processing")
        priced = price_call(prices, model, tokens, at, parts, processing)
        own = {"upstream": "own", "fleet": "l40s"} if model == "small" else {"upstream": "provider"}
        given: dict[str, Any] = {
            "endpoint": "chat.completions", "status": 200, "outcome": "ok", "model": model, "tokens": tokens, "duration_us": 10_000_000,
            "cost": priced.cost, "list_cost": priced.list_cost, "input_cost": priced.input_cost, "cost_basis": priced.cost_basis,
            "price_id": priced.price_id, "price_version": priced.price_version, "counterfactual": priced.cost, "tags": {"team": "search"},
        }  # fmt: skip
        return UsageRecord(id=id, admitted_ns=at, **given | own | fields)

    rows = (
        record("plain", 0, "large", MIXED),
        record("batched", 1, "large", MIXED, processing="batch", parts=PARTS),
        record("unknown-class", 2, "large", MIXED, processing="turbo"),
        record("own-1", 3, "small", Tokens(0, 0, 0, 9_000, 0)),
        record("own-2", 57, "small", Tokens(0, 0, 0, 18_000, 0), duration_us=360_000_000),
        record("failed-over", 4, "large", MIXED, wasted_work=(WastedWork("l40s", Tokens(0, 0, 0, 9_000, 0)),)),
        record("routed", 180, "large", MIXED),
        record("draft", 180, "large", Tokens(1_000, 0, 0, 0, 0), purpose="draft", parent="routed", duration_us=1_000),
        record("shadow", 200, "small", Tokens(0, 0, 0, 9_000, 0), purpose="shadow", parent="routed"),
        record("judge", 201, "large", MIXED, processing="turbo", purpose="judge", parent="routed"),
    )
    with closing(open_store(settings)) as store:
        store.take_in(Intake(rows, (), (), {}))
    with open_allocator(settings) as allocator:
        while allocator.step(T0 + 10 * HOUR_NS):
            pass
    return folder


def explained(folder: Path, id: str) -> Any:
    done = penstock("explain", id, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_request_that_a_provider_served_from_tokens_to_dollars(ledger: Path) -> None:
    told = explained(ledger, "plain")
    lines = told["cost_sum"]["lines"]
    assert [(line["token_class"], line["tokens"], line["usd_per_million"], line["amount_usd"]) for line in lines] == [
        ("uncached_input", 1_000, "3", "0.003"), ("cache_read", 200, "0.3", "0.00006"), ("cache_write", 500, "3.75", "0.001875"),
        ("visible_output", 300, "15", "0.0045"), ("reasoning", 100, "15", "0.0015"),
    ]  # fmt: skip
    assert (told["cost_usd"], told["cost_sum"]["price_id"], told["borne_usd"]) == ("0.010935000", "config:large", "0.010935000")
    assert (told["gpu_hours"], told["provisional_usd"]) == ([], "0.000000000")
    assert "config:large" in penstock("explain", "plain", cwd=ledger).stdout


def test_a_class_and_its_parts_have_lines_of_their_own(ledger: Path) -> None:
    told = explained(ledger, "batched")
    sum_of = told["cost_sum"]
    lines = {line["token_class"]: line for line in sum_of["lines"]}
    assert (sum_of["processing"], sum_of["lacking"]) == ("batch", ["input_audio"])
    assert (lines["cache_write"]["tokens"], lines["cache_write_1h"]["tokens"], lines["cache_write_1h"]["usd_per_million"]) == (
        100,
        400,
        "3",
    )
    assert (lines["web_searches"]["tokens"], lines["web_searches"]["usd_per_call"]) == (2, "0.01")
    assert sum(Decimal(line["amount_usd"]) for line in lines.values()) + Decimal(sum_of["rounding_usd"]) == Decimal(told["cost_usd"])
    assert sum(line["tokens"] for name, line in lines.items() if name != "web_searches") == MIXED.total
    shown = penstock("explain", "batched", cwd=ledger).stdout
    for words in ("processing batch", "at the prices of processing class batch", "400 cache write 1h (of the cache write)", "USD   ="):
        assert words in shown
    assert "input audio: no rate of its own, charged as its class" in shown
    unknown = explained(ledger, "unknown-class")
    assert (unknown["cost_usd"], unknown["cost_sum"]) == (None, None)
    assert "no price for processing class `turbo`" in unknown["cost_note"]


def test_a_request_that_own_gpus_served_from_rent_to_dollars(ledger: Path) -> None:
    told = explained(ledger, "own-1")
    [hour] = told["gpu_hours"]
    assert (hour["fleet"], hour["hour"], hour["closed"], hour["basis"]) == ("l40s", "2026-08-01T16:00:00Z", True, "planned")
    parts = ("used_usd", "waste_usd", "idle_usd", "unallocated_usd", "unused_commitment_usd")
    assert sum(Decimal(hour[part]) for part in parts) == Decimal(hour["rent_usd"]) == Decimal("1.58")
    assert Decimal(hour["amount_usd"]) == Decimal("1.58") * 90 / 3600, "9,000 of 360,000 planned tokens"
    assert told["borne_usd"] == hour["amount_usd"] == "0.039500000"
    assert told["provisional_usd"] == told["cost_usd"], "what it was booked at is replaced"
    shown = penstock("explain", "own-1", cwd=ledger).stdout
    for words in ("rent 1.580000000 USD", "work done over planned_tokens_per_second", "0.039500000 USD with these in the place of"):
        assert words in shown


def test_a_request_of_two_hours_bears_a_part_of_both(ledger: Path) -> None:
    told = explained(ledger, "own-2")
    assert [(each["hour"][11:13], each["closed"]) for each in told["gpu_hours"]] == [("16", True), ("17", True)]
    assert sum(Decimal(each["borne_usd"]) for each in told["gpu_hours"]) == Decimal(told["borne_usd"]) == Decimal("0.079")


def test_work_in_vain_on_own_gpus_is_borne_beside_the_bill(ledger: Path) -> None:
    told = explained(ledger, "failed-over")
    [hour] = told["gpu_hours"]
    assert (hour["amount_usd"], hour["wasted_usd"]) == ("0.000000000", "0.039500000")
    assert Decimal(told["borne_usd"]) == Decimal(told["cost_usd"]) + Decimal(hour["wasted_usd"])
    assert told["wasted_work"] == [{"fleet": "l40s", "tokens": dict(zip(told["tokens"], (0, 0, 0, 9_000, 0), strict=True))}]
    assert "for work that brought no answer" in penstock("explain", "failed-over", cwd=ledger).stdout


def test_what_was_called_beside_a_request_is_told_line_by_line_with_its_total(ledger: Path) -> None:
    told = explained(ledger, "routed")
    assert [(each["id"], each["purpose"], each["model"], each["cost_usd"]) for each in told["asides"]] == [
        ("draft", "draft", "large", "0.003000000"), ("shadow", "shadow", "small", "0.039500000"), ("judge", "judge", "large", None),
    ]  # fmt: skip
    assert (told["borne_usd"], told["in_all_usd"], told["in_all_unknown"]) == ("0.010935000", "0.053435000", 1)
    assert told["saved_usd"] is None, "a call beside it has no known cost"
    shown = penstock("explain", "routed", cwd=ledger).stdout
    for words in ("an answer that was judged and not kept", "0.053435000 USD in all", "1 of 4 unknown and left out"):
        assert words in shown


def test_an_aside_shows_what_it_was_made_for(ledger: Path) -> None:
    told = explained(ledger, "shadow")
    assert (told["purpose"], told["parent"], told["counterfactual_usd"], told["asides"]) == ("shadow", "routed", "0.000000000", [])
    assert told["borne_usd"] == "0.039500000", "its hour's share"
    shown = penstock("explain", "shadow", cwd=ledger).stdout
    assert "made for" in shown and "shadow for request routed" in shown
    assert "the baseline would not have made this call" in shown


def test_costs_by_purpose_add_up_to_all_that_was_spent(ledger: Path) -> None:
    done = penstock("cost", "--since", "2026-08-01", "--until", "2026-08-02", "--by", "purpose", cwd=ledger)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:6]] == ["requests", "shadow", "draft", "judge", "total"]
    assert "7 requests and 3 calls beside them" in done.stdout
