"""Hard caps around judged routes: the worst path is held before anybody is asked, what was spent is booked, nothing stays held."""

import asyncio
import random

import pytest

from penstock.domain.ledger.interrupted import interrupted
from tests.integration.gateway_rig import QUICK, Rig, on_loop, rig
from tests.integration.test_caps import cap, total
from tests.integration.upstream_rig import (
    STREAM_HEAD,
    Play,
    answer,
    chunked,
    completion,
    event,
    hanging,
    piece,
    resetting,
    scripted,
    simulated,
    stream,
    stream_events,
)
from tests.integration.walking_rig import LARGE, MID, SMALL, judged_by_words, ladder

SURE, UNSURE, DEAR = (answer(completion(text)) for text in ("sure: 4", "4 perhaps", "it is 4"))
QUESTION = "what are two and two?"
PATIENT = 'timeout = { connect = "1s", first_token = "9s", idle = "9s" }'


def spent(running: Rig) -> dict[str, int]:
    """Nano-USD, or microseconds of a GPU, that each budget has spent here."""
    assert running.gateway.purses is not None
    return {purse.account.name: purse.spent for purse in running.gateway.purses.all()}


async def worst(running: Rig, model: str) -> int:
    """What is held for `QUESTION` when one model is asked, whose name counts as text."""
    assert (await running.chat(QUESTION[len(model) - len("auto") :], model=model)).status == 200
    assert running.last.reserved is not None
    return running.last.reserved


@pytest.mark.parametrize("strategy", ["cascade", "gate"])
@on_loop
async def test_the_worst_path_is_held_and_what_was_spent_is_booked(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with (
        scripted(UNSURE) as small,
        scripted(SURE) as mid,
        scripted(DEAR) as large,
        rig(ladder(small.url, mid.url, large.url, strategy, more=cap("1 USD / day")), spent={}) as running,
    ):
        alone = {name: await worst(running, f"{name}-model") for name in ("small", "mid", "large")}
        before = spent(running)["cap"]
        assert (await running.chat(QUESTION, model="auto")).status == 200
        path = alone["small"] + alone["large"] + (alone["mid"] if strategy == "gate" else 0)
        assert (running.last.reserved, running.journal.reservations[-1].worst_case) == (path, path)
        cost = SMALL + LARGE + (MID if strategy == "gate" else 0)
        assert spent(running)["cap"] - before == cost
        assert sum(each.cost or 0 for each in running.records[3:]) == cost


@on_loop
async def test_a_path_that_does_not_fit_is_refused_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(UNSURE) as small, scripted(DEAR) as large:
        config = ladder(small.url, small.url, large.url, more=cap("0.0034 USD / day"))
        async with rig(config, spent={}) as running:
            need = await worst(running, "large-model")
            assert need < 3_200_000
        async with rig(config, spent={"cap": 3_400_000 - need - 1000}) as running:
            reply = await running.chat(model="auto")
            assert (reply.status, small.asked, len(large.asked)) == (402, [], 1)
            assert (await running.chat(model="large-model")).status == 200


@on_loop
async def test_a_full_budget_that_asks_for_it_leaves_the_cheap_tier_out_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with scripted(SURE) as small, scripted(DEAR) as large:
        config = ladder(small.url, small.url, large.url, more=cap("0.0034 USD / day", at_limit="downgrade"))
        async with rig(config, spent={}) as running:
            need = await worst(running, "large-model")
        async with rig(config, spent={"cap": 3_400_000 - need - 1000}) as running:
            reply = await running.chat(model="auto")
            assert (reply.status, reply.headers["penstock-route"], small.asked) == (200, "large", [])


@pytest.mark.parametrize("strategy", ["cascade", "gate"])
@on_loop
async def test_a_crowd_never_passes_the_cap(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with simulated() as url, rig(ladder(url, url, url, strategy, more=cap("0.05 USD / day"), upstream=" "), spent={}) as running:
        replies = await asyncio.gather(*(running.chat(f"question {n}", model="auto", stream=n % 2 == 0) for n in range(120)))
        assert {reply.status for reply in replies} == {200, 402}
        assert total(running) <= 50_000_000
        await running.settled()
        assert spent(running)["cap"] == total(running)


@on_loop
async def test_samples_are_held_and_booked() -> None:
    """The judge itself: three answers that say the same make the first one sure."""
    samples = "samples = 3\nlogprobs = false\n"
    async with scripted(DEAR) as small, scripted(DEAR) as large:
        config = ladder(small.url, small.url, large.url, route=samples, more=cap("1 USD / day"))
        async with rig(config, spent={}) as running:
            alone = [await worst(running, f"{name}-model") for name in ("small", "large")]
            reply = await running.chat(QUESTION, model="auto")
            assert (reply.headers["penstock-route"], reply.headers["penstock-cost-usd"]) == ("small", "0.000060000")
            assert running.last.reserved == 3 * alone[0] + alone[1]
            assert [each.purpose for each in running.records[2:]] == ["sample", "sample", None]
            assert spent(running)["cap"] == total(running) == SMALL + LARGE + 3 * SMALL


@on_loop
async def test_a_verifier_is_held_and_booked_and_one_that_does_not_fit_is_not_asked() -> None:
    check = '[checks.right]\nkind = "verifier"\nmodel = "mid-model"\n'
    route = 'checks = ["right"]\nlogprobs = false\n'
    async with (
        scripted(SURE) as small,
        scripted(answer(completion("yes"))) as mid,
        scripted(DEAR) as large,
        rig(ladder(small.url, mid.url, large.url, route=route, more=check + cap("1 USD / day")), spent={}) as running,
    ):
        alone = [await worst(running, f"{name}-model") for name in ("small", "large")]
        assert (await running.chat(model="auto")).status == 200
        verifier = next(each for each in running.records if each.purpose == "verifier")
        assert (verifier.model, verifier.cost, verifier.parent) == ("mid-model", MID, running.last.id)
        assert running.last.reserved is not None and running.last.reserved > sum(alone)
        assert spent(running)["cap"] == total(running)


@on_loop
async def test_a_budget_of_one_model_counts_only_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    budgets = "".join(cap("1 USD / day", name=name, where=f'model = "{name}-model"') for name in ("small", "mid", "large"))
    async with (
        scripted(UNSURE) as small,
        scripted(SURE) as mid,
        scripted(DEAR) as large,
        rig(ladder(small.url, mid.url, large.url, "gate", more=budgets), spent={}) as running,
    ):
        assert (await running.chat(model="auto")).status == 200
        assert spent(running) == {"small": SMALL, "mid": MID, "large": LARGE}


@on_loop
async def test_a_try_in_vain_of_a_cheap_tier_is_held_before_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    once = f"retries = 1\n{QUICK}"
    async with scripted(resetting(), SURE) as small, scripted(DEAR) as large:
        config = ladder(small.url, small.url, large.url, more=cap("1 USD / day"), upstream=once).replace("retries = 0\n", "")
        async with rig(config, spent={}) as running:
            assert (await running.chat(model="auto")).headers["penstock-route"] == "small"
            alone, first = running.journal.reservations[0].worst_case, running.record
            assert alone is not None and first.reserved is not None and first.wasted_cost is not None
            assert first.reserved == alone + first.wasted_cost == running.journal.reservations[-1].worst_case
            assert first.cost == SMALL + first.wasted_cost == spent(running)["cap"]
    async with scripted(resetting(), SURE) as small, scripted(DEAR) as large:
        tight = ladder(small.url, small.url, large.url, more=cap(f"{(alone + 1000) / 10**9:.9f} USD / day"), upstream=once)
        async with rig(tight.replace("retries = 0\n", ""), spent={}) as running:
            reply = await running.chat(model="auto")
            assert (reply.status, reply.headers["penstock-route"], len(small.asked)) == (200, "small>large", 1), "no room for the retry"
            assert total(running) == spent(running)["cap"] <= alone + 1000


@pytest.mark.parametrize("play", [hanging(), hanging(STREAM_HEAD + chunked(event(piece("hel")) + event(piece("lo")))), resetting()])
@pytest.mark.parametrize("route", ["", 'stream = "continue"'])
@on_loop
async def test_faults_and_clients_that_leave_stay_within_what_is_held(play: Play, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    for streamed in (False, True):
        async with scripted(play) as small, scripted(stream(stream_events()) if streamed else DEAR) as large:
            for timeouts, leaves in ((QUICK, False), (PATIENT, True)):
                config = ladder(small.url, small.url, large.url, route=route, more=cap("1 USD / day"), upstream=timeouts)
                async with rig(config, spent={}) as running:
                    asking = running.chat(model="auto", stream=streamed)
                    if leaves:
                        await asyncio.wait({task := asyncio.create_task(asking)}, timeout=0.2)
                        task.cancel()
                    else:
                        await asking
                    await running.settled()
                    assert running.last.reserved is not None
                    assert spent(running)["cap"] == total(running) <= running.last.reserved


@on_loop
async def test_a_last_stage_whose_end_nobody_saw_is_booked_at_its_own_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    broken = resetting(STREAM_HEAD + chunked(event(piece("it "))))
    async with (
        scripted(stream(stream_events("perhaps"))) as small,
        scripted(broken) as large,
        rig(ladder(small.url, small.url, large.url, more=cap("1 USD / day")), spent={}) as running,
    ):
        await running.chat(model="auto", stream=True)
        record = running.last
        assert (record.outcome, record.cost_basis) == ("stream_broken", "estimated")
        assert record.reserved is not None and record.cost is not None
        assert LARGE < record.cost < record.reserved and spent(running)["cap"] == record.cost + SMALL


@on_loop
async def test_a_crash_is_booked_whole_on_whoever_was_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    async with (
        scripted(UNSURE) as small,
        scripted(DEAR) as large,
        rig(ladder(small.url, small.url, large.url, more=cap("1 USD / day")), spent={}) as running,
    ):
        await running.chat(model="auto")
        entries = running.journal.reservations
        assert {each.id for each in entries} == {running.last.id}
        assert [each.model for each in entries][-2:] == ["small-model", "large-model"]
        assert {each.worst_case for each in entries} == {running.last.reserved}
        assert interrupted(entries[-1]).cost == running.last.reserved


@on_loop
async def test_gpu_hours_of_every_stage_are_held_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 tokens at 100 a second, of each tier: 1 s of a GPU; 5 tokens of an answer: 0.05 s."""
    judged_by_words(monkeypatch)
    fleets = "".join(
        f'[fleets.{name}]\nupstream = "{name}"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\nplanned_tokens_per_second = 100\n'
        for name in ("small", "large")
    )
    for limit, status in (("0.0005 gpu-hours / day", 402), ("0.0006 gpu-hours / day", 200)):
        async with (
            scripted(UNSURE) as small,
            scripted(DEAR) as large,
            rig(ladder(small.url, small.url, large.url, more=fleets + cap(limit)), spent={}) as running,
        ):
            assert (await running.chat(model="auto")).status == status, "1.8 s do not hold two tiers, 2.16 s do"
            await running.settled()
            assert spent(running) == {"cap": 100_000 if status == 200 else 0}


@on_loop
async def test_rate_limits_and_keys_see_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    limit = '[[limits]]\nname = "few"\nrequests = "1 / hour"\n'
    async with scripted(UNSURE) as small, scripted(DEAR) as large, rig(ladder(small.url, small.url, large.url, more=limit)) as running:
        assert [(await running.chat(str(n), model="auto")).status for n in range(2)] == [200, 429]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("strategy", ["cascade", "gate"])
@on_loop
async def test_a_crowd_among_faults_never_passes_the_cap(strategy: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    judged_by_words(monkeypatch)
    dice = random.Random(seed)
    begun = STREAM_HEAD + chunked(event(piece("sure")))
    kinds = [
        SURE,
        UNSURE,
        stream(stream_events("sure")),
        resetting(),
        resetting(begun),
        hanging(),
        hanging(begun),
        answer({}, 503),
        answer({}, 400),
    ]
    plays = [[dice.choice(kinds) for _ in range(60)] for _ in range(3)]
    route = 'stream = "continue"' if seed else ""
    retrying = f"retries = 1\n{QUICK}"
    async with scripted(*plays[0]) as small, scripted(*plays[1]) as mid, scripted(*plays[2]) as large:
        config = ladder(small.url, mid.url, large.url, strategy, route, cap("0.03 USD / day"), retrying).replace("retries = 0\n", "")
        async with rig(config, spent={}) as running:
            asked = [asyncio.create_task(running.chat(f"q {n}", model="auto", stream=n % 2 == 0)) for n in range(60)]
            await asyncio.sleep(0.1)
            for task in dice.sample(asked, 10):
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await running.settled()
            assert 0 < spent(running)["cap"] == total(running) <= 30_000_000
            assert running.gateway.counters.exceeded == 0
            assert {each.parent for each in running.records} - {None} <= {each.id for each in running.records if each.purpose is None}


@on_loop
async def test_a_verifier_without_a_price_is_named_where_a_cap_needs_one() -> None:
    check = '[checks.right]\nkind = "verifier"\nmodel = "free"\n[models.free]\nupstream = "mid"\nmax_output = 9\n'
    async with scripted(SURE) as small, scripted(SURE) as mid, scripted(DEAR) as large:
        config = ladder(small.url, mid.url, large.url, route='checks = ["right"]', more=check + cap("1 USD / day"))
        async with rig(config, spent={}) as running:
            reply = await running.chat(model="auto")
            assert (reply.status, reply.error["code"], small.asked) == (400, "unpriced_model", [])
            assert "`free`" in reply.error["message"]
        async with rig(config.replace("[[budgets]]", '[[budgets]]\nwhere = { team = "other" }')) as running:
            reply = await running.chat(model="auto")
            assert (reply.status, reply.headers["penstock-cost-usd"]) == (200, "unknown"), "one of its calls has no price"
