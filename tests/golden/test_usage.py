"""Usage bodies as providers and engines send them, with token classes, parts and costs that were worked out by hand.

`rates` are USD per million (of tokens, calls, requests), `sum` the arithmetic by which the cost was found, without our code.
A case named after an issue of another tracker is a bug that was found there.
"""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.domain.dialects.processing import processing_of
from penstock.domain.dialects.sse import usage_in
from penstock.domain.dialects.streams import usage_so_far
from penstock.domain.dialects.tokens import CLASS_OF_PART, Tokens
from penstock.domain.dialects.usage import MeteredUsage, metered_usage, tokens_from_usage
from penstock.domain.dialects.usage_calls import calls_of_output
from penstock.domain.dialects.usage_fields import UsageError
from penstock.domain.ledger.costing import price_call, price_recall
from penstock.domain.prices.book import Offer, PriceBook
from penstock.domain.prices.rates import CALL_PARTS, Rates, compile_rates
from penstock.domain.prices.schedule import constant
from penstock.domain.units import NANO_PER_USD

CASES: list[dict[str, Any]] = []
for _file in sorted((Path(__file__).parent / "usage").glob("*.json")):
    CASES += [{"file": _file.stem, **case} for case in json.loads(_file.read_text())]
PRICED = [case for case in CASES if "cost" in case]


def name_of(case: dict[str, Any]) -> str:
    return f"{case['file']}: {case['name']}"


def usage_of(case: dict[str, Any]) -> Any:
    """The usage object, for a stream as its events tell it one after another."""
    if "events" not in case:
        return case["usage"]
    usage: dict[str, Any] | None = None
    for each in case["events"]:
        event = b"data: " + orjson.dumps(each) + b"\n\n"
        told = usage_in(event) if case["dialect"] == "chat.completions" else usage_so_far(case["dialect"], event, usage)
        usage = told or usage
    return usage


def metered(case: dict[str, Any]) -> MeteredUsage:
    return metered_usage(usage_of(case), calls_of_output(case.get("output")), case.get("made"))


def rates_of(case: dict[str, Any]) -> Rates:
    table = {name: Fraction(usd) for name, usd in case["rates"].items()}
    request = table.pop("request", Fraction(0)) / 10**6
    calls = {name: table.pop(name) / 10**6 for name in list(table) if name in CALL_PARTS}
    return compile_rates("id", "version", table, usd_per_call=request, calls=calls)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_usage_body(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(UsageError) as caught:
            metered(case)
        assert case["error"] in str(caught.value)
        return
    found = metered(case)
    assert found == MeteredUsage(Tokens(**case["tokens"]), case.get("parts", {}), case.get("otherwise"))
    assert tokens_from_usage(usage_of(case)) == found.tokens
    for name in Tokens.__struct_fields__:
        assert sum(count for part, count in found.parts.items() if CLASS_OF_PART[part] == name) <= getattr(found.tokens, name)


@pytest.mark.parametrize("case", PRICED, ids=name_of)
def test_cost_of_a_usage_body(case: dict[str, Any]) -> None:
    terms = [] if case["sum"] == "0" else [term.split(" x ") for term in case["sum"].split(" + ")]
    by_hand = sum((Decimal(count) * Decimal(usd) for count, usd in terms), Decimal(0)) / 10**6
    assert by_hand == Decimal(case["cost"])
    found, rates = metered(case), rates_of(case)
    processing = processing_of(usage_of(case), case.get("service_tier"))
    assert processing == case.get("processing")
    schedule = constant(rates)
    book = PriceBook({"m": [Offer(schedule if processing is None else None, "", {} if processing is None else {processing: schedule})]})
    if case.get("replayed"):
        priced = price_recall(book, "m", found.tokens, 0, found.parts)
        assert (priced.cost, priced.cost_basis) == (0, "measured")
    else:
        priced = price_call(book, "m", found.tokens, 0, found.parts, processing)
        assert priced.cost_basis == ("estimated" if case.get("estimated") else "measured")
    assert priced.cost == by_hand * NANO_PER_USD


def test_the_corpus_is_whole() -> None:
    assert len(PRICED) >= 150
    assert len({(case["file"], case["name"]) for case in CASES}) == len(CASES)
    for case in CASES:
        assert case["source"]
        assert ("tokens" in case) != ("error" in case)
        assert ("cost" in case) == ("tokens" in case)
    for issue in ("14849", "18599", "37407", "38341", "19704", "42663", "10592", "12306", "2112", "4051", "2519"):
        assert any(f"#{issue}" in case["name"] for case in PRICED), issue
