"""What the controller says of routes reaches the worker whole, and what it does not say changes nothing."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import orjson
import uvloop

from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, TagPolicy
from penstock.gateway.controller_link import ControllerLink
from penstock.gateway.routing.policies import Policies
from penstock.ports.directives import Directive
from penstock.wire.client import Address, Pool, Timeouts
from penstock.wire.message import Request
from penstock.wire.responder import Responder
from penstock.wire.server import serve

GATE = Stage("gate", ("small", "mid"), {"agree": 0.5}, None)
POLICY = RoutePolicy(
    route="auto",
    at_ns=5,
    error_budget=0.03,
    models={"small": "s@1"},
    tags={"a": TagPolicy(tag="a", state="proven", course=Course((GATE,), "why"), at_most=0.02)},
    fresh=TagPolicy(tag="", state="expected", course=Course((Stage("direct", ("large",)),))),
)


def test_policies_are_heard_of_the_controller(tmp_path: Path) -> None:
    said: list[bytes] = [
        b'{"ready":true}',
        orjson.dumps({"ready": True, "routing": orjson.Fragment(msgspec.json.encode((POLICY,)))}),
        b'{"ready":true}',
        b"no JSON",
    ]
    heard: list[int] = []
    policies, asked = Policies(), asyncio.Event()

    async def answer(request: Request, responder: Responder) -> None:
        responder.send(200, [], said.pop(0))
        if not said:
            asked.set()
            await asyncio.Event().wait()

    def learn(told: Sequence[RoutePolicy]) -> None:
        heard.append(len(told))
        policies.hear(told)

    def hear(directives: Sequence[Directive]) -> None:
        raise AssertionError("nothing was said of directives")

    async def scenario() -> None:
        path = str(tmp_path / "c.sock")
        server = await serve(answer, unix_path=path)
        link = ControllerLink(Pool(Address(unix_path=path), Timeouts(connect=1.0, first=5.0, idle=5.0), 10**6))
        task = asyncio.create_task(link.report(dict, hear, learn))
        async with asyncio.timeout(15):
            await asked.wait()
        task.cancel()
        await server.drain(0.1)
        for connection in list(server.connections):
            connection.abort()

    uvloop.run(scenario())
    assert heard == [1]
    assert policies.of("auto") == POLICY
    assert policies.of("other") is None


def test_what_is_heard_takes_the_place_of_what_was() -> None:
    policies = Policies()
    policies.hear([POLICY])
    policies.hear([msgspec.structs.replace(POLICY, route="other")])
    assert policies.of("auto") is None
    assert POLICY.of("a") is POLICY.tags["a"]
    assert POLICY.of("b") is POLICY.fresh
