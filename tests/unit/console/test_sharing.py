"""Shared work: many who ask at once cost one, failures are not kept, and only so much runs at the same time."""

import asyncio

import pytest

from penstock.console.sharing import Shared


def test_ten_who_ask_cost_one() -> None:
    made: list[int] = []

    async def make() -> int:
        await asyncio.sleep(0.01)
        made.append(1)
        return len(made)

    async def ask() -> list[int]:
        shared: Shared[int] = Shared(0.05, 2)
        together = await asyncio.gather(*(shared.get("key", make) for _ in range(10)))
        soon = await shared.get("key", make)
        await asyncio.sleep(0.06)
        return [*together, soon, await shared.get("key", make)]

    assert asyncio.run(ask()) == [1] * 11 + [2]


def test_a_failure_is_told_and_not_kept() -> None:
    async def fail() -> int:
        raise OSError("no disk")

    async def work() -> int:
        return 7

    async def ask() -> int:
        shared: Shared[int] = Shared(10, 2)
        with pytest.raises(OSError, match="no disk"):
            await shared.get("key", fail)
        return await shared.get("key", work)

    assert asyncio.run(ask()) == 7


def test_who_goes_away_leaves_the_others_their_result() -> None:
    async def ask() -> int:
        shared: Shared[int] = Shared(10, 1)
        started = asyncio.Event()

        async def make() -> int:
            started.set()
            await asyncio.sleep(0.01)
            return 5

        first = asyncio.create_task(shared.get("key", make))
        await started.wait()
        second = asyncio.create_task(shared.get("key", make))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(ask()) == 5


def test_only_so_much_at_once() -> None:
    running: list[int] = []
    most: list[int] = []

    async def make() -> int:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.005)
        running.pop()
        return 0

    async def ask() -> None:
        shared: Shared[int] = Shared(10, 2)
        await asyncio.gather(*(shared.get(str(number), make) for number in range(8)))

    asyncio.run(ask())
    assert max(most) == 2


def test_of_heavy_work_one_at_once_and_the_rest_need_not_wait_for_it() -> None:
    running: list[int] = []
    most: list[int] = []

    async def ask() -> list[int]:
        shared: Shared[int] = Shared(10, 2)
        release = asyncio.Event()

        async def heavy() -> int:
            running.append(1)
            most.append(len(running))
            await release.wait()
            running.pop()
            return 1

        async def light() -> int:
            return 2

        waiting = [asyncio.create_task(shared.get(f"heavy {number}", heavy, heavy=True)) for number in range(3)]
        await asyncio.sleep(0)
        found = await asyncio.wait_for(shared.get("light", light), 1)
        release.set()
        return [found, *await asyncio.gather(*waiting)]

    assert asyncio.run(ask()) == [2, 1, 1, 1]
    assert max(most) == 1
