"""The tail: everybody hears everything, unless they are slow, and then they hear how much they missed."""

import asyncio

from penstock.finops.live import Batch, Tail
from tests.ledger_entries import record


def test_every_subscriber_hears_every_batch() -> None:
    async def scenario() -> None:
        tail = Tail()
        one, two = tail.subscribe(), tail.subscribe()
        tail.publish([record("a"), record("b")])
        first, second = await one.next(1), await two.next(1)
        assert first is not None
        assert second is not None
        assert first == second == Batch((record("a"), record("b")))
        assert first.records is second.records, "held once"
        assert await one.next(0.01) is None

    asyncio.run(scenario())


def test_calls_beside_requests_are_not_followed() -> None:
    async def scenario() -> None:
        tail = Tail()
        subscription = tail.subscribe()
        tail.publish([record("d", purpose="draft", parent="a")])
        tail.publish([record("a"), record("s", purpose="shadow", parent="a")])
        assert await subscription.next(1) == Batch((record("a"),))
        assert await subscription.next(0.01) is None

    asyncio.run(scenario())


def test_one_that_waits_is_woken() -> None:
    async def scenario() -> None:
        tail = Tail()
        subscription = tail.subscribe()
        waiting = asyncio.create_task(subscription.next(5))
        await asyncio.sleep(0)
        tail.publish([record("a")])
        async with asyncio.timeout(1):
            assert (await waiting) == Batch((record("a"),))

    asyncio.run(scenario())


def test_who_is_slow_loses_the_oldest_and_is_told() -> None:
    async def scenario() -> None:
        tail = Tail(most_batches=2)
        slow = tail.subscribe()
        for number in range(5):
            tail.publish([record(str(number)), record(f"{number}b")])
        batch = await slow.next(1)
        assert batch is not None
        assert ([each.id for each in batch.records], batch.missed) == (["3", "3b"], 6)
        batch = await slow.next(1)
        assert batch is not None
        assert ([each.id for each in batch.records], batch.missed) == (["4", "4b"], 0)

    asyncio.run(scenario())


def test_who_left_holds_nothing() -> None:
    async def scenario() -> None:
        tail = Tail()
        subscription = tail.subscribe()
        assert tail.watched == 1
        subscription.close()
        subscription.close()
        tail.publish([record("a")])
        assert (tail.watched, await subscription.next(0)) == (0, None)

    asyncio.run(scenario())
