"""Invented records for the ledger's benchmark: thirty days of a firm with twelve teams, made in a few microseconds each."""

import random
from collections.abc import Iterator

from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.request_id import RANDOM_BITS, request_id

DAYS = 30
DELIVERY = 5_000
OWN = "own"
"""upstream and fleet of the firm's own GPUs"""
MODELS = (
    ("gpt-4o", "openai", "large", 2_500, 10_000),
    ("gpt-4o-mini", "openai", "small", 150, 600),
    ("claude-sonnet-4-5", "anthropic", "large", 3_000, 15_000),
    ("claude-haiku-4-5", "anthropic", "medium", 1_000, 5_000),
    ("gemini-2.5-flash", "google", "medium", 300, 2_500),
    ("llama-8b", OWN, "small", 50, 100),
)
"""name, upstream, tier, nano-USD per input and per output token"""
TEAMS, FEATURES_OF_A_TEAM, USERS_OF_A_FEATURE = 12, 4, 60


class _Feature:
    """One feature: who uses it, and which two models answer."""

    def __init__(self, number: int, dice: random.Random) -> None:
        team = number // FEATURES_OF_A_TEAM
        tags = {"team": f"team-{team}", "feature": f"feature-{number}", "environment": "production", "cost_center": f"cc-{team % 5}"}
        self.tags = [{**tags, "user": f"user-{number}-{user}"} for user in range(USERS_OF_A_FEATURE)]
        self.models = dice.sample(MODELS, 2)
        self.key_id = f"key-{number}"
        self.input, self.output = dice.choice((200, 900, 4_000)), dice.choice((40, 200, 700))


def deliveries(records: int, until_ns: int) -> Iterator[list[UsageRecord]]:
    """Records in order of time, evenly over the days that end at `until_ns`."""
    dice = random.Random(7)
    features = [_Feature(number, dice) for number in range(TEAMS * FEATURES_OF_A_TEAM)]
    weights = [1 / (rank + 1) for rank in range(len(features))]
    width = DAYS * 86_400 * 10**9 // records
    at_ns = until_ns - width * records
    for start in range(0, records, DELIVERY):
        chosen = dice.choices(features, weights, k=min(DELIVERY, records - start))
        made = []
        for feature in chosen:
            made.append(_record(feature, at_ns, dice))
            at_ns += width
        yield made


def _record(feature: _Feature, at_ns: int, dice: random.Random) -> UsageRecord:
    roll = dice.random()
    model, upstream, tier, per_input, per_output = feature.models[roll < 0.3]
    size = 0.2 + 1.6 * dice.random()
    tokens = Tokens(int(feature.input * size), int(feature.input * size) // 3 if roll < 0.5 else 0, 0, int(feature.output * size), 0)
    hit, failed = roll > 0.94, 0.93 < roll <= 0.94
    listed = (tokens.uncached_input + tokens.cache_read) * per_input + tokens.visible_output * per_output
    took_us = int(300_000 + 20_000 * tokens.visible_output * dice.random())
    return UsageRecord(
        id=request_id(at_ns, dice.getrandbits(RANDOM_BITS)),
        admitted_ns=at_ns,
        endpoint="chat.completions",
        status=502 if failed else 200,
        outcome="error" if failed else "ok",
        requested_model=model,
        model=model,
        response_model=model,
        tier=tier,
        upstream=upstream,
        fleet=OWN if upstream == OWN and not hit else None,
        replica=f"https://api.{upstream}.example/v1",
        tags=feature.tags[int(dice.random() ** 2 * USERS_OF_A_FEATURE)],
        key_id=feature.key_id,
        streamed=roll < 0.4,
        cache="exact" if hit else "miss",
        route=tier,
        strategy="by_complexity",
        complexity=round(roll, 3),
        finish_reason=None if failed else "stop",
        tokens=NO_TOKENS if hit or failed else tokens,
        recalled=tokens if hit else NO_TOKENS,
        first_token_us=took_us // 3 if roll < 0.4 else None,
        duration_us=900 if hit else took_us,
        price_id=f"{upstream}/{model}",
        price_version="2026-11-01",
        cost=0 if hit or failed else listed - tokens.cache_read * per_input // 2,
        list_cost=listed,
        input_cost=(tokens.uncached_input + tokens.cache_read) * per_input,
        counterfactual=listed * 2,
        baseline="gpt-4o",
    )
