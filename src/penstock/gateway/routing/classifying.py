"""`by_complexity` with a classifier: a small model says how demanding a request is. What it does not say in time, the heuristic has said.

It is asked when the reservation stands, for it costs; until then the plan holds every tier that it may name.
"""

import asyncio
import re
from typing import Any, Final

import msgspec

from penstock.domain.dialects.content import last_user_text
from penstock.domain.routing.needs import CLASSES, Class, place_of
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.asides import ask, book
from penstock.gateway.routing.planning import asks_classifier, wished
from penstock.gateway.routing.scoring import placed, settled
from penstock.gateway.routing.wishes import Wishes, wishes_of
from penstock.gateway.steps.choose import in_order
from penstock.gateway.steps.settle import book_aside

TIMEOUT_S: Final = 2.0
"""how long a classifier may take"""
_READ: Final = 2000
"""characters of a request that it reads"""
_SAYS: Final = 8
"""tokens that it may say"""
_TASK: Final = (
    "Say how capable a language model must be to answer the request between the marks well. Answer with one word. "
    "fast: classification, extraction, short plain questions. balanced: summaries, moderate code, instructions of several steps. "
    "frontier: hard reasoning, proofs, debugging, high stakes. Do not answer the request itself."
)
_NUMBER: Final = re.compile(r"0?\.\d+|[01](?:\.0+)?")
_WORD: Final = re.compile(r"\b(fast|balanced|frontier)\b")


async def classify(gateway: Gateway, x: Exchange) -> bool:
    """Settles the plan of a request whose route has a classifier. Raises `Refusal` (rule)."""
    target = x.target
    if target is None or target.route is None or x.decision is None or not asks_classifier(gateway, x):
        return False
    wishes = wishes_of(x, target.route)
    said, trouble = await _asked(gateway, x, target.route.classifier or "")
    ladder = wished(target, wishes)
    if said is None:
        why = f"{x.decision.why}; the classifier was of no use: {trouble}"
    else:
        place, why = placed(target, wishes, said, "open") if isinstance(said, float) else (place_of(said, len(ladder)), said)
        place = max(place, _floor(gateway, x, wishes))
        x.primary, why = settled(gateway, x, wishes, ladder, place, why)
        why = f"{why}, says {target.route.classifier}"
        x.complexity = said if isinstance(said, float) else x.complexity
    x.decision = msgspec.structs.replace(x.decision, why=why)
    reserved = frozenset(x.plan)  # a budget may have taken dear ones out of it
    x.plan = tuple(each for each in in_order(gateway, x, target) if each in reserved) or x.plan
    return False


def read_class(text: str) -> Class | float | None:
    """What a classifier says: the one class that it names, or a number from 0 to 1; None where it says neither."""
    plain = text.strip().lower()
    if _NUMBER.fullmatch(plain):
        return float(plain)
    named = set(_WORD.findall(plain))
    return next((each for each in CLASSES if named == {each}), None)


async def _asked(gateway: Gateway, x: Exchange, model: str) -> tuple[Class | float | None, str]:
    """What the classifier says, or why that is of no use."""
    assert x.body is not None
    candidate = gateway.targets.candidate(model)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            draft = await ask(gateway, x, candidate, "classifier", body=_question(x.body), streamed=False)
    except TimeoutError:
        for child in tuple(x.helpers):
            book_aside(gateway, x, child)
        return None, f"it took longer than {TIMEOUT_S:g} s"
    book(gateway, x, draft, "classifier")
    if not draft.ok:
        return None, draft.error or "it failed"
    said = read_class(draft.text or "")
    return said, f"it says `{(draft.text or '')[:40]}`"


def _question(body: dict[str, Any]) -> dict[str, Any]:
    asked = last_user_text(body)
    shown = asked if len(asked) <= _READ else f"{asked[: _READ // 2]}\n...\n{asked[-_READ // 2 :]}"
    messages = [{"role": "system", "content": _TASK}, {"role": "user", "content": f"<request>\n{shown}\n</request>"}]
    return {"messages": messages, "max_tokens": _SAYS, "temperature": 0}


def _floor(gateway: Gateway, x: Exchange, wishes: Wishes) -> int:
    """The place of the tier that the conversation stays with at least."""
    kept = gateway.sessions.floor(x.conversation) if x.conversation is not None and x.decision is not None and x.decision.session else None
    return wishes.tiers.index(kept) if kept in wishes.tiers else 0
