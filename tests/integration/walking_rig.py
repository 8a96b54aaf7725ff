"""A route over three upstreams whose answers are judged by what they say, so that tests choose what becomes of each."""

from collections.abc import Sequence

import pytest

from penstock.domain.ledger.routed import Sign
from penstock.domain.routing.course import Stage
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing import walking
from penstock.gateway.routing.asides import Draft
from penstock.gateway.routing.judging import Verdict
from tests.integration.gateway_rig import QUICK

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
SMALL, MID, LARGE = 20_000, 60_000, 200_000
"""nano-USD of `USAGE` at each tier"""


def ladder(
    small: str, mid: str, large: str, strategy: str = "cascade", route: str = "", more: str = "", upstream: str = "", steps: int = 2
) -> str:
    """Config text: the route `auto` over the tiers small (1 USD in and 2 out per million tokens), mid (3 and 6) and large (10 and 20);
    a `cascade` of two `steps` goes without mid."""
    tiers = '"small", "mid", "large"' if strategy == "gate" or steps == 3 else '"small", "large"'
    parts = [f'version = 1\n[routes.auto]\nstrategy = "{strategy}"\ntiers = [{tiers}]\n{route}\n']
    for name, url, price in (("small", small, 1), ("mid", mid, 3), ("large", large, 10)):
        parts.append(
            f'[upstreams.{name}]\nbase_urls = ["{url}"]\nretries = 0\n{upstream or QUICK}\n'
            f'[models.{name}-model]\nupstream = "{name}"\nmax_output = 100\nprice = {{ input = {price}, output = {2 * price} }}\n'
            f'[tiers.{name}]\nmodel = "{name}-model"\n'
        )
    return "".join(parts) + more


def judged_by_words(monkeypatch: pytest.MonkeyPatch) -> list[list[str | None]]:
    """Puts a judge in place to whom an answer is sure that says `sure`, and answers agree that are equal; the texts that it has judged."""
    seen: list[list[str | None]] = []

    async def judge(gateway: Gateway, x: Exchange, stage: Stage, drafts: Sequence[Draft]) -> Verdict:
        texts = [draft.text for draft in drafts]
        seen.append(texts)
        sure = texts[0] is not None and "sure" in texts[0]
        return Verdict((Sign("words", 0.99 if sure else 0.2),), texts[0] == texts[-1] if len(texts) > 1 else None)

    monkeypatch.setattr(walking, "judge", judge)
    return seen
