"""A route `r` over three tiers, as far as plans are made from it, and requests to it; the tag of all of them is feature = a."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import orjson

from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.ledger.routed import RouteDecision
from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, State, TagPolicy
from penstock.gateway.exchange import Exchange, begin
from penstock.gateway.routing.paces import Paces
from penstock.gateway.routing.planning import plan_course
from penstock.gateway.routing.policies import Policies
from penstock.gateway.routing.sessions import Sessions
from penstock.gateway.speech import Speech
from penstock.gateway.targets import Targets
from penstock.wire.message import Request

BASE = """
version = 1
[upstreams.here]
base_urls = ["http://127.0.0.1:8000/v1"]
[upstreams.there]
base_urls = ["http://127.0.0.1:8001/v1"]
[models]
s = { upstream = "here", name = "llama-8b", version = "1", context = 1000 }
m = { upstream = "here", name = "gemini-flash", context = 100000 }
l = { upstream = "there", name = "big" }
[tiers]
small = { model = "s" }
mid = { model = "m" }
large = { model = "l" }
[routes.r]
tiers = ["small", "mid", "large"]
"""
MODELS = {"small": "llama-8b@1", "mid": "gemini-flash", "large": "big"}
LAST = Stage("direct", ("large",))
GATE = Stage("gate", ("small", "mid"), {"agree": 1.0, "differ": 0.0})
DRAFT = Stage("cascade", ("small",), {"confident": 0.9, "unsure": 0.1}, 0.8)
NOW = time.time_ns()


class World:
    """A gateway with one route `r`, as far as plans are made from it."""

    def __init__(self, route: str, base: str = BASE) -> None:
        settings: Settings = parse(base + route, {})
        self.targets = Targets(settings)
        self.gateway: Any = SimpleNamespace(
            targets=self.targets, policies=Policies(), sessions=Sessions(), paces=Paces(), speech=Speech(settings.upstreams), shadows=None
        )

    def prove(self, *stages: Stage, state: State = "proven", labels: int = 100, **more: Any) -> None:
        """What is proven of the tag `a`; other tags are unknown."""
        tag = {name: more.pop(name) for name in ("expected_loss", "loss_high", "at_most", "shadow") if name in more}
        policy = TagPolicy(tag="a", labels=labels, state=state, course=Course(stages, "as measured"), **tag)
        self.gateway.policies.hear(
            [RoutePolicy(**{"route": "r", "at_ns": NOW, "error_budget": 0.03, "models": MODELS, "tags": {"a": policy}, **more})]
        )

    def plan(
        self, text: str = "hi", /, headers: dict[str, str] | None = None, endpoint: str = "chat.completions", **fields: Any
    ) -> Exchange:
        """A request with the tag feature = a, planned."""
        x = exchange(text, headers, endpoint, **fields)
        self.replan(x)
        return x

    def replan(self, x: Exchange) -> None:
        x.target = self.targets.find("r")
        assert x.target is not None
        asyncio.run(plan_course(self.gateway, x, x.target))


def exchange(text: str = "hi", headers: dict[str, str] | None = None, endpoint: str = "chat.completions", **fields: Any) -> Exchange:
    body = {"model": "r", "messages": [{"role": "user", "content": text}], **fields}
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    responder: Any = None
    x = begin(endpoint, Request("POST", "/v1/x", "/v1/x", "", pairs, orjson.dumps(body)), responder)
    x.body, x.asked_for, x.tags, x.admitted_ns = body, "r", {"feature": "a"}, NOW
    return x


def stages(x: Exchange) -> tuple[Stage, ...]:
    assert x.course is not None
    return x.course.stages


def decided(x: Exchange) -> RouteDecision:
    assert x.decision is not None
    return x.decision


def choice(x: Exchange) -> str | None:
    assert x.primary is not None
    return x.primary.tier
