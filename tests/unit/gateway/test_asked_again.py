"""Who is recognised when the same is asked again."""

from typing import Any

import msgspec
import orjson
import pytest

from penstock.config.load import parse
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged, RouteDecision
from penstock.gateway.exchange import Exchange
from penstock.gateway.heads import Heads
from penstock.gateway.routing import asked_again
from penstock.gateway.routing.asked_again import AskedAgain
from penstock.gateway.routing.streaming import Buffer
from penstock.gateway.targets import Targets
from penstock.wire.message import Request

TARGETS = Targets(
    parse(
        """
version = 1
[upstreams.u]
base_urls = ["http://127.0.0.1:9/v1"]
[models.s]
upstream = "u"
[models.l]
upstream = "u"
[tiers]
small = { model = "s" }
large = { model = "l" }
[routes.auto]
strategy = "cascade"
tiers = ["small", "large"]
""",
        {},
    )
)
KEPT = RouteDecision("support", "why", (Judged("cascade", ("small",), "confident", True, confidence=0.9),))


def exchange(text: str = "hi", *, user: str | None = "ann", cache: bytes = b"no-cache", id: str = "req_1", **fields: Any) -> Exchange:
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}
    request = Request("POST", "/v1/chat/completions", "/v1/chat/completions", "", [], orjson.dumps(body))
    tags = {} if user is None else {"user": user}
    heads = Heads([], cache=cache)
    return Exchange(
        "chat.completions", request, Buffer(0), id, 7, 0.0, heads, body=body, asked_for="auto", tags=tags, target=TARGETS.find("auto")
    )


def record(tier: str = "small", decision: RouteDecision | None = KEPT) -> UsageRecord:
    return UsageRecord(
        id="req_1", admitted_ns=5, endpoint="chat.completions", status=200, outcome="ok", requested_model="auto", model="s", tier=tier,
        route_decision=decision,
    )  # fmt: skip


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_wants_the_same_made_anew_complains_once() -> None:
    again = AskedAgain()
    again.note(exchange(), record())
    said = again.complaint(exchange(id="req_2"))
    assert said is not None and (said.id, said.judge, said.at_ns) == ("req_1", "feedback", 7)
    assert [(seen.tier, seen.quality, seen.model, seen.confidence) for seen in said.seen] == [
        ("small", 0.0, "s", 0.9), ("large", None, "", None),
    ]  # fmt: skip
    assert again.complaint(exchange(id="req_3")) is None


def test_another_seed_is_the_same_conversation_and_another_question_is_not() -> None:
    again = AskedAgain()
    again.note(exchange(), record())
    assert again.complaint(exchange("hi there")) is None
    assert again.complaint(exchange(user="bob")) is None
    assert again.complaint(exchange(seed=7, stream=True)) is not None


def test_after_a_while_it_is_a_new_question() -> None:
    clock = Clock()
    again = AskedAgain(clock)
    again.note(exchange(), record())
    clock.now = asked_again.WITHIN_S
    assert again.complaint(exchange()) is None


def test_a_program_that_repeats_itself_does_not_complain() -> None:
    again = AskedAgain()
    again.note(exchange(cache=b""), record())
    assert again.complaint(exchange(cache=b"")) is None
    assert again.complaint(exchange()) is not None


@pytest.mark.parametrize("told", [record("large"), record("elsewhere"), record(decision=None)])
def test_only_answers_of_cheap_tiers_are_remembered(told: UsageRecord) -> None:
    again = AskedAgain()
    again.note(exchange(), told)
    assert again.complaint(exchange()) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_again, "MOST", 2)
    again = AskedAgain()
    for text in ("a", "b", "c"):
        again.note(exchange(text), record())
    assert again.complaint(exchange("a")) is None
    assert again.complaint(exchange("b")) is not None and again.complaint(exchange("c")) is not None


def test_odd_and_large_requests_are_let_pass() -> None:
    again = AskedAgain()
    for odd in (exchange("x" * asked_again.LONGEST), _lone_surrogate()):
        again.note(odd, record())
        assert again.complaint(odd) is None


def _lone_surrogate() -> Exchange:
    return msgspec.structs.replace(exchange(), body={"model": "auto", "messages": [{"role": "user", "content": "\ud800"}]})
