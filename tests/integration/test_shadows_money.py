"""What shadows may cost, how many there are at once, and what becomes of them when a worker stops or fails."""

import asyncio
from collections.abc import Callable

import pytest

from penstock.domain.ledger.interrupted import interrupted
from penstock.gateway.routing import shadowing
from tests.integration.gateway_rig import Rig, on_loop, rig
from tests.integration.shadow_rig import FOUR, USER, outcomes, route, shadowed, shadows
from tests.integration.upstream_rig import Play, answer, completion, hanging, scripted
from tests.integration.walking_rig import LARGE, MID, SMALL


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every coin shows heads."""
    monkeypatch.setattr("penstock.gateway.routing.planning.random.random", lambda: 0.0)


@pytest.mark.parametrize(("budget", "times"), [("0.0006 USD / day", 1), ("0.000001 USD / day", 0), ("5 USD / day", 3)])
@on_loop
async def test_the_shadow_budget_holds(budget: str, times: int) -> None:
    async with (
        scripted(FOUR) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, route=f'shadow_budget = "{budget}"\n')) as running,
    ):
        for number in range(3):
            await running.chat(str(number), USER, model="auto", max_tokens=20)
            await running.settled()
        spent = sum(line.cost or 0 for line in shadows(running))
        assert spent == times * (SMALL + MID)
        assert outcomes(running) == {name: count for name, count in (("labelled", times), ("budget", 3 - times)) if count}


@pytest.mark.parametrize(("budget", "outcome"), [("0.05 USD / day", "budget"), ("20 USD / day", "labelled")])
@on_loop
async def test_the_shadow_budget_holds_for_the_judge_too(budget: str, outcome: str) -> None:
    texts = ("It is in the north, in a town.", "Nobody has ever known where it was, or when.", "A long way off lies the city, so they say.")
    small_says, mid_says, large_says = (answer(completion(text)) for text in texts)
    async with (
        scripted(small_says) as small,
        scripted(mid_says) as mid,
        scripted(large_says) as large,
        scripted(answer(completion("SAME"))) as other,
    ):
        model = '[models.dear]\nupstream = "judge"\nprice = { input = 1000, output = 1000 }\n'
        more = f'[upstreams.judge]\nbase_urls = ["{other.url}"]\n{model}'
        text = route(small, mid, large, route=f'shadow_budget = "{budget}"\njudge = "dear"\n', more=more)
        async with rig(text) as running:
            await shadowed(running, max_tokens=20)
            assert outcomes(running) == {outcome: 1}
            assert len(other.asked) == (4 if outcome == "labelled" else 0)


CAP = '[[budgets]]\nname = "all"\nlimit = "{limit} USD / month"\nat_limit = "refuse"\n'


@on_loop
async def test_shadows_count_against_the_caps_of_their_request() -> None:
    async with (
        scripted(FOUR) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, more=CAP.format(limit=1)), spent={}) as running,
    ):
        await shadowed(running)
        assert running.gateway.purses is not None
        (purse,) = running.gateway.purses.all()
        assert sum(record.cost or 0 for record in running.records) == SMALL + MID + LARGE
        assert purse.held == 0


@on_loop
async def test_a_cap_without_room_for_a_shadow_keeps_it_from_being_asked() -> None:
    cap = '[[budgets]]\nname = "mid"\nwhere = { model = "mid-model" }\nlimit = "0.0001 USD / month"\nat_limit = "refuse"\n'
    async with (
        scripted(FOUR) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, more=cap), spent={}) as running,
    ):
        await shadowed(running)
        assert running.records[0].outcome == "ok"
        assert (mid.asked, small.asked, shadows(running)) == ([], [], [])
        assert outcomes(running) == {"cap": 1}


@on_loop
async def test_every_call_is_on_the_journal_before_it_is_made() -> None:
    held: list[list[str]] = []

    def noting(running: Callable[[], Rig]) -> Play:
        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            held.append([each.model or "" for each in running().journal.reservations if each.purpose == "shadow"])
            writer.write(FOUR)
            await writer.drain()

        return play

    rigs: list[Rig] = []
    async with (
        scripted(noting(lambda: rigs[0])) as small,
        scripted(noting(lambda: rigs[0])) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large)) as running,
    ):
        rigs.append(running)
        await shadowed(running)
        assert held == [["mid-model"], ["mid-model", "small-model"]]
        for reservation in [each for each in running.journal.reservations if each.purpose == "shadow"]:
            booked = interrupted(reservation)
            assert (booked.purpose, booked.parent, booked.model) == ("shadow", running.records[0].id, reservation.model)
            assert booked.cost is not None and booked.cost > 0


@on_loop
async def test_a_worker_that_stops_books_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "DRAIN_S", 0.05)
    async with scripted(hanging()) as small, scripted(FOUR) as mid, scripted(FOUR) as large, rig(route(small, mid, large)) as running:
        await running.chat("2 + 2?", USER, model="auto")
        while not small.asked:
            await asyncio.sleep(0.005)
        assert running.gateway.shadows is not None
        await running.gateway.shadows.close()
        lines = {line.tier: line for line in shadows(running)}
        assert lines["mid"].cost == MID and lines["small"].outcome == "interrupted"
        assert (lines["small"].cost or 0) > 0, "it may have been worked for"
        assert outcomes(running) == {"failed": 1}


@on_loop
async def test_there_are_never_too_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(hanging()) as small, scripted(FOUR) as mid, scripted(FOUR) as large, rig(route(small, mid, large)) as running:
        assert running.gateway.shadows is not None
        monkeypatch.setattr(running.gateway.shadows, "_at_once", 1)
        for number in range(3):
            await running.chat(str(number), USER, model="auto")
        assert outcomes(running) == {"busy": 2}


@on_loop
async def test_one_that_fails_inside_is_told_once_and_what_it_spent_is_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(shadowing, "observed", fail)
    async with (
        scripted(FOUR) as small,
        scripted(FOUR) as mid,
        scripted(FOUR) as large,
        rig(route(small, mid, large, route='cache = "off"\n')) as running,
    ):
        await shadowed(running)
        await shadowed(running)
        assert len([line for line in running.log if "RuntimeError: no" in line]) == 1
        assert len(shadows(running)) == 4 and outcomes(running) == {"failed": 2}
