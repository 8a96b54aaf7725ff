"""The log followed beside the event loop: in order, in slices, and appended to at the end."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from penstock.gateway.semantic import following
from penstock.gateway.semantic.following import Following, Piece
from penstock.ports.answer_store import Numbered, Removal
from tests.integration.semantic_rig import StoreInMemory


def removal(name: str) -> Removal:
    return Removal(at_ns=1, entries=(name,), reason="purged")


def follow(store: StoreInMemory, take: Callable[[Numbered], following.Steps], log: list[str], **more: Any) -> Following:
    def nothing(*_: object) -> None:
        return None

    return Following(lambda: store, take, more.get("restore", nothing), nothing, "state", log.append)


async def _ready(followed: Following) -> None:
    async with asyncio.timeout(20):
        while not followed.ready:
            await asyncio.sleep(0.001)


def test_the_loop_is_never_kept_for_long() -> None:
    store, taken, longest, log = StoreInMemory(), list[str](), [0], list[str]()
    store.append([removal(str(number)) for number in range(1200)])

    def take(numbered: Numbered) -> None:
        until = time.perf_counter() + 0.0005
        while time.perf_counter() < until:
            pass
        assert isinstance(numbered.event, Removal)
        taken.append(numbered.event.entries[0])

    async def scenario() -> None:
        followed = follow(store, take, log)
        followed.start()
        before = 0
        while not followed.ready:
            await asyncio.sleep(0)
            longest[0] = max(longest[0], len(taken) - before)
            before = len(taken)
        await followed.close()

    uvloop.run(scenario())
    assert taken == [str(number) for number in range(1200)] and log == []
    assert longest[0] <= 2 * following.SLICE_S / 0.0005 + 2, "so many events are taken in between two turns of the loop"


def test_a_state_that_was_kept_comes_before_the_events() -> None:
    store, heard = StoreInMemory(), list[object]()
    store.append([removal("a")])
    store.keep_state("state", 7, b"learned")

    async def scenario() -> None:
        followed = follow(
            store, lambda numbered: heard.append(numbered.place), [], restore=lambda place, state: heard.append((place, state))
        )
        followed.start()
        await _ready(followed)
        await followed.close()

    uvloop.run(scenario())
    assert heard == [(7, b"learned"), 1]


def test_what_is_queued_at_the_end_is_appended() -> None:
    store = StoreInMemory()

    async def scenario() -> None:
        followed = follow(store, lambda numbered: None, [])
        followed.start()
        await _ready(followed)
        for number in range(300):
            assert followed.queue(Piece((removal(str(number)),)))
        await followed.close()
        assert followed.waiting == 0

    uvloop.run(scenario())
    assert [event.entries[0] for event in store.of(Removal)] == [str(number) for number in range(300)]


def test_an_end_does_not_wait_for_a_store_that_is_away() -> None:
    store, log = StoreInMemory(), list[str]()
    store.away = True

    async def scenario() -> None:
        followed = follow(store, lambda numbered: None, log)
        followed.start()
        followed.queue(Piece((removal("a"),)))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await followed.close()
        assert time.monotonic() - began < 1

    uvloop.run(scenario())
    assert len(log) == 1 and "is away" in log[0] and "hint: bring it back" in log[0]


def test_no_trouble_stops_it_from_following() -> None:
    store, taken, log = StoreInMemory(), list[int](), list[str]()
    store.append([removal("a")])
    failing = [ZeroDivisionError("a bug"), ValueError("another")]

    class Buggy(StoreInMemory):
        def since(self, place: int, most: int = 1000) -> Any:
            if failing:
                raise failing.pop()
            return store.since(place, most)

    async def scenario() -> None:
        followed = follow(Buggy(), lambda numbered: taken.append(numbered.place), log)
        followed.start()
        await _ready(followed)
        await followed.close()

    uvloop.run(scenario())
    assert taken == [1] and "ValueError: another" in log[0] and "answers again" in log[-1]


def test_one_large_event_is_taken_in_in_slices_too_and_before_the_next() -> None:
    store, heard, longest, log = StoreInMemory(), list[str](), [0], list[str]()
    store.append([removal("large"), removal("small")])

    def take(numbered: Numbered) -> Iterator[None]:
        assert isinstance(numbered.event, Removal)
        for _ in range(400 if numbered.event.entries == ("large",) else 1):
            until = time.perf_counter() + 0.0005
            while time.perf_counter() < until:
                pass
            heard.append(numbered.event.entries[0])
            yield

    async def scenario() -> None:
        followed = follow(store, take, log)
        followed.start()
        before = 0
        while not followed.ready:
            await asyncio.sleep(0)
            longest[0] = max(longest[0], len(heard) - before)
            before = len(heard)
        await followed.close()

    uvloop.run(scenario())
    assert heard == ["large"] * 400 + ["small"] and log == []
    assert longest[0] <= 2 * following.SLICE_S / 0.0005 + 2, "so many steps are taken between two turns of the loop"


def test_who_keeps_what_found_no_room_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_WAITING", 1)
    log = list[str]()
    followed = follow(StoreInMemory(), lambda numbered: None, log)
    piece = Piece((removal("a"),))
    assert followed.queue(piece) and not followed.queue(piece, again=True)
    assert followed.dropped == 0 and log == []
    assert not followed.queue(piece) and followed.dropped == 1 and "forgets what is new" in log[0]
