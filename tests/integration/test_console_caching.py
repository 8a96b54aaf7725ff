"""The semantic cache on Savings: what it earned and how often it is wrong, and what it would have saved while it only watched."""

import csv
import io
import json
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.bootstrap.audit import open_papers
from penstock.config.settings import Settings
from penstock.console.context import Papers
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.record import CacheDecision, CacheOutcome, UsageRecord
from penstock.ports.cache_truth import ScopeTruth
from tests.integration.console_rig import Rig, console, fill, seeded

SEMANTIC = """
[cache.semantic]
enabled = true
mode = "{mode}"
wrong_answer = "0.001 USD"
"""
SHADOW = CacheDecision(verdict="served", mode="shadow", entry="r", similarity=0.97, risk=0.01)
LEARNED = CacheDecision(verdict="served", mode="learned", entry="r", similarity=0.97, risk=0.01)
EMBEDDING = 20_000
LIST_COST = 4_000_000
KNOWN = ScopeTruth(
    scope="acme", mode="learned", requests=1000, served=200, compared=80, estimate=0.0125, low=0.005, high=0.03125, expected=0.0015,
    at_most=0.004, promised=0.005,
)  # fmt: skip


class Told:
    """`CacheTruth` that says what a test wants."""

    def __init__(self, *scopes: ScopeTruth) -> None:
        self._scopes = scopes

    def scopes(self) -> Sequence[ScopeTruth]:
        return self._scopes


def asked_of_big(number: int, cache: CacheOutcome, would: CacheOutcome | None = None) -> UsageRecord:
    """A request of a few hours ago that the cache looked at."""
    replayed, tokens = cache != "miss", Tokens(800, 0, 0, 200, 0)
    at_ns = time.time_ns() - (number + 1) * 60 * 10**9
    embedded = 0 if cache == "normalised" else EMBEDDING
    return UsageRecord(
        id=f"{cache}-{would}-{number}", admitted_ns=at_ns, endpoint="chat.completions", status=200, outcome="ok", model="big", tier="large",
        upstream="api", baseline="big", cache=cache, cache_source="r" if replayed else None, would_cache=would,
        cache_decision=SHADOW if would else LEARNED, tags={"team": "support", "feature": "faq"}, list_cost=LIST_COST,
        counterfactual=LIST_COST, embedding_cost=embedded, cost=embedded + (0 if replayed else LIST_COST),
        tokens=NO_TOKENS if replayed else tokens, recalled=tokens if replayed else NO_TOKENS,
    )  # fmt: skip


def serving(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str, records: list[UsageRecord], *scopes: ScopeTruth) -> Settings:
    """Settings whose store holds the firm's traffic and these records; the console is told of these scopes."""
    settings, _ = seeded(folder, 300, SEMANTIC.format(mode=mode))
    fill(settings, records)

    def papers(settings: Settings) -> Papers:
        return msgspec.structs.replace(open_papers(settings), truth=Told(*scopes))

    monkeypatch.setattr("tests.integration.console_rig.open_papers", papers)
    return settings


def asked(rig: Rig, target: str) -> Any:
    status, _, body = rig.get(target)
    assert status == 200, body
    return json.loads(body)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    records = [asked_of_big(n, "semantic") for n in range(40)] + [asked_of_big(n, "normalised") for n in range(15)]
    records += [asked_of_big(n, "miss") for n in range(20)] + [asked_of_big(n, "miss", "semantic") for n in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        settings = serving(tmp_path_factory.mktemp("learned"), patch, "learned", records, KNOWN)
        with console(settings) as rig:
            yield rig


def test_net_saving_stands_beside_the_measured_error(learned: Rig) -> None:
    page = asked(learned, "/savings.json")
    found = page["caching"]
    layers = {layer["layer"]: layer for layer in found["layers"]}
    assert (layers["semantic"]["answers"], layers["normalised"]["answers"]) == (40, 15)
    assert Decimal(layers["semantic"]["avoided_usd"]) == 40 * Decimal("0.004")
    assert Decimal(found["embedding_usd"]) == 62 * Decimal("0.00002")
    assert found["wrong"]["answers"] == 0.5
    assert Decimal(found["wrong"]["cost_usd"]) == Decimal("0.0005")
    assert Decimal(found["net_usd"]) == Decimal("0.16") - Decimal("0.00124") - Decimal("0.0005")
    rest = Decimal("0.16") - Decimal("0.00124")
    assert Decimal(found["net_low_usd"]) == rest - 40 * Decimal("0.00003125")
    assert Decimal(found["net_high_usd"]) == rest - 40 * Decimal("0.000005")
    assert (found["measured"]["of_answers"], found["measured"]["of_requests"], found["promised"]) == (0.0125, 0.0025, 0.005)
    levers = {lever["lever"]: lever for lever in page["levers"]}
    assert Decimal(levers["embedding"]["saved_usd"]) == -Decimal(found["embedding_usd"])
    assert levers["semantic_cache"]["saved_usd"] == layers["semantic"]["avoided_usd"]
    assert Decimal(page["counterfactual_usd"]) - sum(Decimal(each["saved_usd"]) for each in page["levers"]) == Decimal(page["paid_usd"])
    for group in (*page["groups"], *page["days"]):
        of_cache = ("exact_cache", "normalised_cache", "semantic_cache", "embedding")
        assert Decimal(group["cache_usd"]) == sum(Decimal(group["levers_usd"][name]) for name in of_cache)


def test_the_page_says_what_is_measured_and_what_is_promised(learned: Rig) -> None:
    body = learned.page("/savings")
    assert "Answers by meaning" in body and "net saving" in body and "measured 0.25" in body
    assert "may be a loss" not in body, "and the ends of the interval round to the same"
    assert "promised at most 0.5" in body and "Measured by 80 forced misses" in body
    assert "What the cache could have saved as well" in body
    assert ">cache</th>" in body and "saved by the cache" in body and 'style="' not in body


def test_the_list_and_the_export_of_requests_say_what_the_cache_made_of_each(learned: Rig) -> None:
    rows = list(csv.DictReader(io.StringIO(learned.get("/requests.csv?where=cache=semantic")[2])))
    told = {(row["cache_verdict"], row["cache_similarity"], row["cache_risk"], row["would_cache"], row["embedding_usd"]) for row in rows}
    assert (len(rows), told) == (40, {("served", "0.97", "0.01", "", "0.000020000")})
    listed = asked(learned, "/requests.json?where=cache=miss&since=1h")["rows"]
    assert {(row["cache_verdict"], row["would_cache"], row["embedding_usd"]) for row in listed} >= {
        ("served", "semantic", "0.000020000"), ("served", None, "0.000020000"),
    }  # fmt: skip
    replayed = asked(learned, "/requests.json?where=cache=normalised")["rows"][0]
    assert (replayed["cache_risk"], replayed["embedding_usd"]) == (0.01, "0.000000000")


def test_shadow_tells_what_would_have_been_saved_before_anything_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [asked_of_big(n, "miss", "semantic") for n in range(30)] + [asked_of_big(n, "miss", "normalised") for n in range(10)]
    records += [asked_of_big(n, "miss") for n in range(60)]
    with console(serving(tmp_path, monkeypatch, "shadow", records)) as rig:
        found, body = asked(rig, "/savings.json")["caching"], rig.page("/savings")
        would = found["potential"]
        assert (would["looked"], would["answers"], would["share"]) == (100, 40, 0.4)
        assert Decimal(would["semantic_usd"]) == 30 * Decimal("0.004")
        assert Decimal(would["saved_usd"]) == 40 * Decimal("0.004")
        assert (would["wrong"]["cost_usd"], would["wrong"]["why"]) == (None, "not measured yet")
        assert "What the cache would have saved" in body and "is not measured yet" in body
        today = {each["name"]: each for each in asked(rig, "/today.json")["readings"]}
        assert today["Cache hits"]["beside"].endswith("; 40 more had an answer that was not served")


def test_an_alarm_is_told_and_an_embedding_without_a_price_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpriced = [msgspec.structs.replace(asked_of_big(n, "semantic"), embedding_cost=None, cost=0) for n in range(5)]
    wrong = msgspec.structs.replace(KNOWN, mode="zero-trust", estimate=0.25, low=0.125, high=0.5, alarm=True)
    with console(serving(tmp_path, monkeypatch, "learned", unpriced, wrong)) as rig:
        found, body = asked(rig, "/savings.json")["caching"], rig.page("/savings")
    assert (found["embedding_usd"], found["net_usd"], found["alarms"]) == (None, None, ["acme"])
    assert "More is wrong than was judged in 1 scope" in body and "the model that embeds has no price" in body
    assert "alarm pale" in body, "what of the interval lies beyond the promise"


def test_a_net_saving_that_may_be_a_loss_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful = msgspec.structs.replace(KNOWN, estimate=0.5, low=0.0, high=1.0)
    cheap = [msgspec.structs.replace(asked_of_big(n, "semantic"), list_cost=900_000, counterfactual=900_000) for n in range(5)]
    with console(serving(tmp_path, monkeypatch, "learned", cheap, doubtful)) as rig:
        found, body = asked(rig, "/savings.json")["caching"], rig.page("/savings")
    assert Decimal(found["net_low_usd"]) < 0 < Decimal(found["net_usd"]) < Decimal(found["net_high_usd"])
    assert 'between \u2212$0.00060 and $0.00440, <span class="alarm">may be a loss</span>: avoided' in body


def test_what_keeps_the_cache_off_is_said_and_nothing_is_promised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = serving(tmp_path, monkeypatch, "learned", [asked_of_big(n, "semantic") for n in range(5)], KNOWN)

    def papers(settings: Settings) -> Papers:
        return msgspec.structs.replace(open_papers(settings), truth=Told(KNOWN), meaning_off="no weights: `pip install them`")

    monkeypatch.setattr("tests.integration.console_rig.open_papers", papers)
    with console(settings) as rig:
        found, body = asked(rig, "/savings.json")["caching"], rig.page("/savings")
    assert (found["mode"], found["promised"], found["scopes"][0]["promised"]) == (None, None, None)
    assert "is turned on and cannot run: no weights: <code>pip install them</code>" in body
    assert "promised at most" not in body and "requests is promised" not in " ".join(body.split())


def test_of_several_scopes_those_in_doubt_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [msgspec.structs.replace(KNOWN, scope=f"tenant={n}", estimate=None, low=None, high=None, compared=2) for n in range(8)]
    worse = msgspec.structs.replace(KNOWN, scope="beta", estimate=0.05, low=0.02, high=0.1, expected=0.002, at_most=0.0045)
    rings = msgspec.structs.replace(KNOWN, scope="gamma", mode="zero-trust", estimate=0.01, low=0.005, high=0.02, alarm=True)
    records = [asked_of_big(n, "semantic") for n in range(5)]
    with console(serving(tmp_path, monkeypatch, "learned", records, *others, KNOWN, worse, rings)) as rig:
        found, body = asked(rig, "/savings.json")["caching"], rig.page("/savings")
    assert [each["scope"] for each in found["scopes"][:4]] == ["gamma", "beta", "acme", "tenant=0"]
    assert (found["all_scopes"], found["compared"], found["at_most"]) == (11, 3 * 80 + 8 * 2, 0.0045)
    assert [each["measured"] for each in found["scopes"][:4]] == [0.002, 0.01, 0.0025, None]
    table = body[body.index("Wrong answers by scope") : body.index("Measured by")]
    assert table.count("<tr>") == 1 + 5 + 1 and "all 11 scopes" in table and "tenant=7" not in table
    assert "in the 3 scopes of 11 that are measured. Expected and at most" in " ".join(body.split())


def test_who_has_not_turned_it_on_is_told_how_to_find_out(tmp_path: Path) -> None:
    settings, _ = seeded(tmp_path, 100)
    with console(settings) as rig:
        body = rig.page("/savings")
        assert asked(rig, "/savings.json")["caching"]["mode"] is None
    assert 'semantic = { enabled = true, mode = "shadow" }' in body
