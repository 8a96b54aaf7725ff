"""A route of three tiers with a ledger, labels and a published policy behind it: what its reports and pages are made from."""

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from penstock import bootstrap
from penstock.bootstrap.ledger import open_documents, open_evidence
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.costing import price_call
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.request_id import request_id
from penstock.domain.ledger.routed import Judged, Observation, Purpose, RouteDecision, Seen, Sign
from penstock.domain.prices.book import PriceBook
from penstock.domain.routing.proving.fitting import fit
from penstock.finops.routing.learning import law_of
from penstock.finops.routing.publishing import KIND
from penstock.ports.documents import Document
from penstock.ports.usage_store import Intake

CONFIG = """
version = 1
[server]
listen = "127.0.0.1:4100"
store = "sqlite:///{folder}/ledger.db"
journal = "{folder}/journal"
[tags]
declared = ["team", "feature"]
[upstreams.api]
base_urls = ["http://127.0.0.1:9/v1"]
[models.s]
upstream = "api"
price = {{ input = 0.1, output = 0.4 }}
[models.m]
upstream = "api"
price = {{ input = 0.3, output = 1.2 }}
[models.l]
upstream = "api"
price = {{ input = 3, output = 12 }}
[tiers]
small = {{ model = "s" }}
mid = {{ model = "m" }}
large = {{ model = "l" }}
[routes.auto]
strategy = "{strategy}"
tiers = ["small", "mid", "large"]
{route}
[features.chat]
value = 3
[features.code]
value = 1
error_budget = 0.01
"""
TIERS = ("small", "mid", "large")
MODELS = {"small": "s", "mid": "m", "large": "l"}
TOKENS = Tokens(1_000, 0, 0, 200, 0)
MINUTE = 60 * 10**9


def routed_settings(folder: Path, *, strategy: str = "learned", route: str = "error_budget = 0.03", extra: str = "") -> Settings:
    """Settings of the route, as a project's file has them."""
    return parse(CONFIG.format(folder=folder, strategy=strategy, route=route) + extra, {})


def label(number: int, tag: str, right: Sequence[float], prices: PriceBook, at_ns: int, agrees: bool = True) -> Observation:
    """A request that all tiers answered; `right`: the quality of each."""
    costs = [price_call(prices, MODELS[tier], TOKENS, at_ns).cost for tier in TIERS]
    answers = ["same", "same" if agrees else "other", "same"]
    seen = tuple(
        Seen(tier=tier, quality=quality, cost=cost, answer=answer, confidence=0.95 if quality else 0.5, model=MODELS[tier])
        for tier, quality, cost, answer in zip(TIERS, right, costs, answers, strict=True)
    )
    return Observation(
        id=f"label-{tag}-{number}", at_ns=at_ns, route="auto", tag=tag, seen=seen, judge="check", propensity=0.05, complexity=0.3
    )


def labels_of(prices: PriceBook, now_ns: int, count: int = 400) -> list[Observation]:
    """Chat, where the small tier is as good as any where it agrees with the next one; code, where it is not."""
    rng = random.Random(3)
    found: list[Observation] = []
    for number in range(count):
        at_ns = now_ns - (count - number) * MINUTE
        agrees = rng.random() < 0.7
        chat = (1.0, 1.0, 1.0) if agrees else (float(rng.random() < 0.4), float(rng.random() < 0.5), float(rng.random() < 0.95))
        found.append(label(number, "chat", chat, prices, at_ns, agrees))
        code = (float(rng.random() < 0.5), float(rng.random() < 0.75), 1.0)
        found.append(label(number, "code", code, prices, at_ns, agrees and rng.random() < 0.6))
    return found


def request(prices: PriceBook, at_ns: int, number: int, feature: str, tier: str, stage: Judged | None, **more: Any) -> UsageRecord:
    """One line of the ledger; with `purpose` and `parent` a call beside a request."""
    model = MODELS[tier]
    priced = price_call(prices, model, TOKENS, at_ns)
    decision = RouteDecision(
        tag=feature, why="expected", stages=(stage,) if stage is not None else (), error_budget=0.03, expected_loss=0.012
    )
    given: dict[str, Any] = {
        "id": request_id(at_ns, number), "admitted_ns": at_ns, "endpoint": "chat.completions", "status": 200, "outcome": "ok",
        "requested_model": "auto", "model": model, "tier": tier, "upstream": "api", "tags": {"feature": feature, "team": "t"},
        "strategy": "learned", "tokens": TOKENS, "cost": priced.cost, "list_cost": priced.list_cost, "counterfactual": priced.cost,
        "cost_basis": "measured", "price_id": priced.price_id, "price_version": priced.price_version, "duration_us": 900_000,
        "route_decision": None if "purpose" in more else decision,
    }  # fmt: skip
    return UsageRecord(**given | more)


def gated(prices: PriceBook, at_ns: int, number: int, feature: str) -> list[UsageRecord]:
    """A request over a gate, its answer last: kept where the tiers agree, else the large one's, with the calls beside it."""
    agrees = number % 4 != 0
    sign = Sign("finish", said="it ended by itself")
    stage = Judged(
        kind="gate",
        tiers=("small", "mid"),
        stratum="agree" if agrees else "differ",
        kept=agrees,
        share=1.0 if agrees else 0.0,
        signs=(sign,),
    )
    asked: tuple[tuple[str, Purpose], ...] = (("mid", "vote"),) if agrees else (("small", "draft"), ("mid", "vote"))
    answer = request(prices, at_ns, number * 10, feature, "small" if agrees else "large", stage)
    beside = [
        request(prices, at_ns, number * 10 + place, feature, tier, None, purpose=purpose, parent=answer.id, counterfactual=0)
        for place, (tier, purpose) in enumerate(asked, 1)
    ]
    if number % 20 == 0:
        beside.append(request(prices, at_ns, number * 10 + 5, feature, "large", None, purpose="shadow", parent=answer.id, counterfactual=0))
    return [*beside, answer]


def routed_records(prices: PriceBook, now_ns: int, count: int = 80) -> list[UsageRecord]:
    """So many requests of chat over a gate, and half as many of code that only the last tier answers."""
    found: list[UsageRecord] = []
    for number in range(count):
        at_ns = now_ns - (count - number) * MINUTE
        found += gated(prices, at_ns, number, "chat")
        if number % 2:
            direct = Judged(kind="direct", tiers=("large",), stratum="direct", kept=True)
            found.append(request(prices, at_ns + 1, 100_000 + number, "code", "large", direct))
    return found


def fill(settings: Settings, records: Sequence[UsageRecord]) -> None:
    """Takes records into the store."""
    store = bootstrap.open_store(settings)
    store.take_in(Intake(records=list(records), opened=[], settled=[], offsets={}))
    store.close()


def routed(folder: Path, **given: str) -> Settings:
    """Settings whose store holds traffic, labels and the policy that they lead to."""
    settings = routed_settings(folder, **given)
    prices, now_ns = bootstrap.price_book(settings), time.time_ns()
    fill(settings, routed_records(prices, now_ns))
    labels = labels_of(prices, now_ns)
    open_evidence(settings).add(labels)
    if settings.routes["auto"].error_budget is not None:
        policy = fit(law_of(settings, "auto"), labels, {}, now_ns)
        open_documents(settings).put(Document(KIND, "auto", now_ns, msgspec.json.encode(policy).decode()))
    return settings
