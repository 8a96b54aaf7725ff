"""Lanes: priority between classes, turns between tenants, bounded waits, and no place ever lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.gateway.exchange import Exchange, begin
from penstock.gateway.lanes import CLASSES, Lane, Lanes, class_of
from penstock.gateway.refusal import Refusal
from penstock.gateway.steps.admit import SHARE_PERCENT
from penstock.wire.message import Request


def config(places: int | None = 1, **queue: object) -> Settings:
    bound = "" if places is None else f"max_concurrent = {places}"
    lines = "\n".join(f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}" for name, value in queue.items())
    text = f'version = 1\n[upstreams.a]\nbase_urls = ["http://127.0.0.1:1/v1"]\n{bound}\n'
    return parse(text + f'[upstreams.b]\nbase_urls = ["http://127.0.0.1:2/v1"]\n{bound}\n[queue]\n{lines}\n', {})


def lanes(places: int | None = 1, workers: int = 1, **queue: object) -> Lanes:
    given = config(places, **queue)
    return Lanes(given.upstreams, given.queue, workers)


def lane(of: Lanes, upstream: str = "a") -> Lane:
    found = of.of(upstream)
    assert found is not None
    return found


def request(sla: str | None = None, tenant: str = "t") -> Exchange:
    responder: Any = None
    x = begin("chat.completions", Request("POST", "/", "/", "", [], b""), responder)
    x.sla, x.tenant = sla, tenant
    return x


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await test()

    asyncio.run(bounded())


class Scene:
    """Requests that want a place at upstream `a` and keep it until they are told to leave."""

    def __init__(self, of: Lanes) -> None:
        self.lanes = of
        self.served: list[str] = []
        self.refused: dict[str, Refusal] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, sla: str | None = None, tenant: str = "t", upstream: str = "a") -> None:
        """Comes, and waits if it must, before this returns; one that is shed for it has gone by then."""
        self.tasks[name] = asyncio.create_task(self._enter(name, request(sla, tenant), upstream))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def serve_all(self) -> list[str]:
        """Gives places back, one by one, until nobody holds one; the order in which all were served."""
        for each in (lane(self.lanes, "a"), lane(self.lanes, "b")):
            while each.taken:
                each.leave()
                await asyncio.sleep(0)
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert self.lanes.waiting == 0
        return self.served

    async def _enter(self, name: str, x: Exchange, upstream: str) -> None:
        try:
            await self.lanes.enter(lane(self.lanes, upstream), x)
        except Refusal as refusal:
            self.refused[name] = refusal
        else:
            self.served.append(name)


def test_upstreams_without_a_bound_have_no_lane() -> None:
    none = lanes(None)
    assert none.of("a") is None
    none.leave("a")
    assert none.gauges() == {"queue": dict.fromkeys(CLASSES, 0), "shed": dict.fromkeys(CLASSES, 0)}


@pytest.mark.parametrize(("bound", "workers", "each"), [(10, 1, 10), (10, 3, 3), (2, 4, 1)])
def test_places_are_split_between_workers(bound: int, workers: int, each: int) -> None:
    assert lane(lanes(bound, workers)).places == each


def test_classes() -> None:
    given = [class_of(sla) for sla in ("critical", "standard", "best_effort", None, "gold")]
    assert given == ["critical", "standard", "best_effort", "standard", "standard"]
    assert set(SHARE_PERCENT) == set(CLASSES)


def test_the_urgent_come_first_and_tenants_take_turns() -> None:
    async def test() -> None:
        scene = Scene(lanes())
        await scene.come("first", "best_effort")
        for number in range(3):
            await scene.come(f"best{number}", "best_effort", "greedy")
            await scene.come(f"plain{number}", None, "greedy")
        await scene.come("gold", "gold", "other")
        await scene.come("best", "best_effort", "other")
        await scene.come("critical", "critical", "greedy")
        assert scene.lanes.gauges()["queue"] == {"critical": 1, "standard": 4, "best_effort": 4}
        served = await scene.serve_all()
        assert served == ["first", "critical", "plain0", "gold", "plain1", "plain2", "best0", "best", "best1", "best2"]

    run(test)


def test_a_hundred_of_one_tenant_do_not_delay_the_first_of_another() -> None:
    async def test() -> None:
        scene = Scene(lanes())
        for number in range(101):
            await scene.come(f"greedy{number}", None, "greedy")
        await scene.come("modest", None, "modest")
        served = await scene.serve_all()
        assert served.index("modest") == 2, "one was being served, one was next, then it is its turn"
        assert len(served) == 102

    run(test)


def test_a_wait_ends_after_the_time_of_its_class() -> None:
    async def test() -> None:
        scene = Scene(lanes(critical="200ms", standard="20ms", best_effort="0s"))
        await scene.come("first")
        for sla in CLASSES:
            await scene.come(sla, sla)
        assert scene.lanes.gauges()["queue"] == {"critical": 1, "standard": 1, "best_effort": 0}, "0s: nobody waits"
        await scene.tasks["standard"]
        assert "standard" in scene.refused and not scene.tasks["critical"].done()
        await scene.tasks["critical"]
        assert scene.served == ["first"] and await scene.serve_all() == ["first"]
        for sla, within in (("critical", " within 0.2 s"), ("standard", " within 0.02 s"), ("best_effort", "")):
            refusal = scene.refused[sla]
            assert (refusal.status, refusal.category, refusal.code) == (429, "limit", "rate_limit_exceeded")
            assert refusal.message == f"upstream `a` had no place for a {sla} request{within}"
            assert f"queue.{sla}" in (refusal.hint or "") and (refusal.retry_after_s or 0) >= 1
        again = [scene.refused[sla].retry_after_s or 0 for sla in CLASSES]
        assert again == sorted(again), "the less urgent come back later"

    run(test)


def test_all_waits_of_a_request_together_last_no_longer() -> None:
    async def test() -> None:
        of = lanes(standard="60ms")
        blocking, x = request(), request()
        for upstream in ("a", "b"):
            await of.enter(lane(of, upstream), blocking)
        loop = asyncio.get_running_loop()
        began = loop.time()
        loop.call_later(0.03, lane(of).leave)
        await of.enter(lane(of), x)
        lane(of).leave()
        assert 0.02 < x.waited_s < 0.06
        with pytest.raises(Refusal):
            await of.enter(lane(of, "b"), x)
        assert 0.05 <= loop.time() - began < 0.2
        await of.enter(lane(of), x)
        with pytest.raises(Refusal):
            await of.enter(lane(of), x)

    run(test)


def test_one_that_goes_away_leaves_the_queue_at_once() -> None:
    async def test() -> None:
        scene = Scene(lanes())
        for name in ("first", "second", "third"):
            await scene.come(name)
        scene.tasks["second"].cancel()
        await asyncio.sleep(0)
        assert scene.lanes.waiting == 1
        assert await scene.serve_all() == ["first", "third"]

    run(test)


def test_a_place_granted_to_one_that_has_just_gone_goes_on() -> None:
    async def test() -> None:
        scene = Scene(lanes())
        for name in ("first", "second", "third"):
            await scene.come(name)
        lane(scene.lanes).leave()
        scene.tasks["second"].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert scene.served == ["first", "third"] and lane(scene.lanes).taken == 1
        await scene.serve_all()

    run(test)


def test_one_that_leaves_as_a_place_comes_free_does_not_take_it_along() -> None:
    async def test() -> None:
        scene = Scene(lanes())
        for name in ("first", "second"):
            await scene.come(name)
        scene.tasks["second"].cancel()
        lane(scene.lanes).leave()
        await asyncio.sleep(0)
        assert (lane(scene.lanes).taken, scene.lanes.waiting) == (0, 0)

    run(test)


def test_a_full_queue_sheds_the_least_urgent() -> None:
    async def test() -> None:
        scene = Scene(lanes(max_waiting=4))
        await scene.come("first")
        for number in range(3):
            await scene.come(f"best{number}", "best_effort", "greedy")
        await scene.come("modest", "best_effort", "modest")
        await scene.come("critical", "critical")
        assert list(scene.refused) == ["best2"], "the newest of the greediest tenant of the lowest class"
        await scene.come("late", "best_effort", "greedy")
        assert list(scene.refused) == ["best2", "late"], "the newcomer itself, where that is the newest of the greediest"
        await scene.come("another", "best_effort", "another")
        assert list(scene.refused) == ["best2", "late", "best1"], "within a class the greedy make room for others"
        await scene.come("more", "best_effort", "more")
        assert list(scene.refused)[3:] == ["more"], "of equals, the newcomer"
        for number in range(3):
            await scene.come(f"plain{number}")
        await scene.come("plain3")
        assert list(scene.refused)[4:] == ["another", "modest", "best0", "plain3"]
        await scene.come("urgent", "critical")
        assert list(scene.refused)[8:] == ["plain2"]
        assert "queue.max_waiting" in (scene.refused["plain2"].hint or "")
        assert await scene.serve_all() == ["first", "critical", "urgent", "plain0", "plain1"]

    run(test)


def test_the_bound_on_the_waiting_is_one_for_all_lanes() -> None:
    async def test() -> None:
        scene = Scene(lanes(max_waiting=2))
        for upstream in ("a", "b"):
            await scene.come(f"first {upstream}", upstream=upstream)
            await scene.come(f"second {upstream}", "best_effort", upstream=upstream)
        await scene.come("critical", "critical", upstream="b")
        assert len(scene.refused) == 1 and scene.lanes.waiting == 2
        assert await scene.serve_all() == ["first a", "first b", "critical", "second b"]

    run(test)


def test_one_that_was_shed_takes_a_free_place_elsewhere_but_waits_no_more() -> None:
    async def test() -> None:
        of = lanes(max_waiting=1)
        x = request("best_effort")
        await of.enter(lane(of), request())
        victim = asyncio.create_task(of.enter(lane(of), x))
        await asyncio.sleep(0)
        urgent = asyncio.create_task(of.enter(lane(of), request("critical")))
        with pytest.raises(Refusal):
            await victim
        await of.enter(lane(of, "b"), x)
        with pytest.raises(Refusal):
            await of.enter(lane(of, "b"), x)
        lane(of).leave()
        await urgent

    run(test)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["come", "leave", "cancel", "tick", "cancel and leave"]), st.sampled_from(CLASSES), st.sampled_from("abc")),
    max_size=60,
)


@settings(deadline=None)
@given(ACTIONS, st.integers(1, 3), st.integers(1, 5))
def test_no_place_is_lost_whatever_happens(actions: list[tuple[str, str, str]], places: int, most: int) -> None:
    async def test() -> None:
        of = lanes(places, max_waiting=most)
        here, holding = lane(of), 0
        tasks: list[asyncio.Task[None]] = []

        async def enter(x: Exchange) -> None:
            nonlocal holding
            await of.enter(here, x)
            holding += 1

        for action, sla, tenant in actions:
            if action == "come":
                tasks.append(asyncio.create_task(enter(request(sla, tenant))))
            if "cancel" in action and tasks:
                tasks[len(tasks) // 2].cancel()
            if "leave" in action and holding:
                holding -= 1
                here.leave()
            if action == "tick":
                await asyncio.sleep(0)
            assert holding <= here.taken <= places
            assert of.waiting <= most
        while any(not task.done() for task in tasks) or holding:
            if holding:
                holding -= 1
                here.leave()
            await asyncio.sleep(0)
        assert (here.taken, of.waiting) == (0, 0)

    run(test)
