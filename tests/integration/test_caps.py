"""Hard caps on the data plane: what is held, what is refused, what happens at the limit, and that nothing stays held."""

import asyncio
from pathlib import Path

from penstock.gateway.purses import RETRY_S
from penstock.ports.budget_book import BookError
from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.gateway_rig import Rig, chat_body, fallback, on_loop, one_upstream, rig
from tests.integration.upstream_rig import (
    STREAM_HEAD,
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

COST = 20_000
"""nano-USD of the scripted answer: 10 tokens in, 5 out"""
SECRET = "psk_" + "a" * 48


def cap(limit: str = "0.001 USD / day", at_limit: str = "refuse", where: str = "", name: str = "cap", more: str = "") -> str:
    filters = f"where = {{ {where} }}" if where else ""
    return f'[[budgets]]\nname = "{name}"\nlimit = "{limit}"\nat_limit = "{at_limit}"\n{filters}\n{more}\n'


def total(running: Rig) -> int:
    return sum(record.cost or 0 for record in running.records)


@on_loop
async def test_what_fits_is_served_and_counted() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap()), spent={}) as running:
        reply = await running.chat()
        assert reply.status == 200 and running.record.cost == COST
        assert running.record.reserved is not None and running.record.writer == "worker-1"
        assert float(reply.headers["penstock-budget-left-usd"]) < 0.001
        assert running.journal.reservations[0].worst_case == running.record.reserved


@on_loop
async def test_what_does_not_fit_is_refused_with_402() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap()), spent={"cap": 900_000}) as running:
        reply = await running.chat()
        assert reply.status == 402 and reply.headers["penstock-error"] == "budget"
        assert "`cap` (0.001 USD / day)" in reply.error["message"] and "begins anew" in reply.error["message"]
        assert reply.headers["penstock-budget-left-usd"] == "0.000100000"
        assert not up.asked and running.record.outcome == "refused" and running.gateway.counters.refused == {"cap": 1}


@on_loop
async def test_a_crowd_never_passes_the_cap() -> None:
    async with simulated() as url, rig(one_upstream(url, more=cap("0.005 USD / day")), spent={}) as running:
        replies = await asyncio.gather(*(running.chat(f"question {n}", stream=n % 2 == 0) for n in range(200)))
        served = [reply for reply in replies if reply.status == 200]
        assert {reply.status for reply in replies} == {200, 402} and served
        assert total(running) <= 5_000_000


@on_loop
async def test_one_by_one_almost_all_of_the_cap_can_be_used() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap("0.01 USD / day")), spent={}) as running:
        while (await running.chat(f"{len(running.records)}")).status == 200:
            pass
        assert 9_500_000 <= total(running) <= 10_000_000


@on_loop
async def test_a_closed_cap_waits_for_its_opening_then_answers_503() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap())) as running:
        reply = await running.chat()
        assert reply.status == 503 and reply.headers["penstock-error"] == "budget" and reply.headers["retry-after"] == "2"
        assert not up.asked


@on_loop
async def test_a_closed_cap_lets_through_what_waited_for_it() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap())) as running:
        waiting = asyncio.create_task(running.chat())
        await asyncio.sleep(0.2)
        assert running.gateway.caps is not None and running.gateway.purses is not None
        [purse] = running.gateway.purses.all()
        assert await running.book.open(purse.account.id, {}, ["worker-1"], 1)
        assert (await waiting).status == 200


@on_loop
async def test_every_budget_that_covers_a_request_holds() -> None:
    caps = (
        cap("1 USD / day", name="all") + cap(name="search", where='team = "search"') + cap("9 USD / month", name="m", where='model = "m"')
    )
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=caps), spent={"search": 900_000}) as running:
        search, other = {"penstock-tag-team": "search"}, {"penstock-tag-team": "ads"}
        assert (await running.chat(headers=search)).status == 402
        assert (await running.chat(headers=other)).status == 200
        assert (await running.chat("untagged")).status == 200
        assert running.gateway.purses is not None
        by_name = {purse.account.name: purse.spent for purse in running.gateway.purses.all()}
        assert by_name == {"all": 2 * COST, "m": 2 * COST, "search": 0}


@on_loop
async def test_a_budget_of_a_model_counts_only_what_that_model_answered() -> None:
    more = cap("1 USD / day", name="dear", where='model = "dear"')
    async with scripted(answer(completion())) as up, rig(fallback(up.url, up.url) + more, spent={}) as running:
        assert (await running.ask("POST", "/v1/chat/completions", chat_body(model="auto", max_tokens=9))).status == 200
        assert running.gateway.purses is not None
        [purse] = running.gateway.purses.all()
        assert running.record.reserved and purse.spent == 0


@on_loop
async def test_a_call_without_a_bound_is_refused_under_a_cap() -> None:
    unbounded = one_upstream("http://127.0.0.1:9/v1", more=cap()).replace("max_output = 100\n", "")
    async with rig(unbounded, spent={}) as running:
        reply = await running.chat()
        assert reply.status == 400 and reply.headers["penstock-error"] == "input" and "max_tokens" in reply.error["message"]


@on_loop
async def test_a_call_without_a_price_is_refused_under_a_cap() -> None:
    unpriced = one_upstream("http://127.0.0.1:9/v1", more=cap()).replace("price = { input = 1, output = 2 }\n", "")
    async with rig(unpriced, spent={}) as running:
        assert (await running.chat(max_tokens=5)).status == 400


@on_loop
async def test_usage_beyond_the_reservation_counts_in_full_and_closes_the_cap() -> None:
    huge = {"prompt_tokens": 2000, "completion_tokens": 500, "total_tokens": 2500}
    async with scripted(answer(completion(usage=huge))) as up, rig(one_upstream(up.url, more=cap()), spent={}) as running:
        assert (await running.chat()).status == 200
        assert running.record.cost == 3_000_000 and running.gateway.counters.exceeded == 1
        assert any("counts in full" in line for line in running.log)
        assert (await running.chat("again")).status == 402


@on_loop
async def test_a_class_that_turns_out_to_have_no_price_is_booked_as_held() -> None:
    told = answer(completion(service_tier="priority"))
    one = one_upstream("URL", upstream='provider = "openai"', more=cap())
    async with scripted(told) as up, rig(one.replace("URL", up.url), spent={}) as running:
        assert (await running.chat()).status == 200
        assert running.record.cost == running.record.reserved and running.record.cost_basis == "estimated"


@on_loop
async def test_nothing_stays_held_wherever_the_client_leaves() -> None:
    slow = [STREAM_HEAD, chunked(event(piece("hel")))]
    async with scripted(hanging(b"".join(slow))) as up, rig(one_upstream(up.url, more=cap("1 USD / day")), spent={}) as running:
        request = chat_body(stream=True)
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
            request
        )
        for cut in range(1, len(head + request), 37):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write((head + request)[:cut])
            await writer.drain()
            writer.transport.abort()
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(head + request)
            await reader.readuntil(b"hel")
            writer.transport.abort()
        await asyncio.sleep(0.1)
        assert len(running.records) == 3


@on_loop
async def test_faults_of_the_upstream_leave_nothing_held() -> None:
    plays = (answer({"error": {"message": "no"}}, 500), resetting(), resetting(STREAM_HEAD + chunked(event(piece("x")))), answer({}, 400))
    async with scripted(*plays, answer(completion())) as up, rig(one_upstream(up.url, more=cap("1 USD / day")), spent={}) as running:
        for _ in range(5):
            await running.chat(stream=True)


@on_loop
async def test_a_try_in_vain_is_held_before_the_next_one() -> None:
    quick = 'timeout = { connect = "200ms", first_token = "100ms", idle = "100ms", answer = "100ms" }\nretries = 0'
    async with scripted(hanging()) as one, scripted(answer(completion())) as two:
        config = fallback(one.url, two.url).replace(
            'retries = 0\ntimeout = { connect = "200ms", first_token = "200ms", idle = "200ms" }', quick
        )
        body = chat_body(model="auto", max_tokens=20)
        async with rig(config + cap("1 USD / day"), spent={}) as running:
            assert (await running.ask("POST", "/v1/chat/completions", body)).status == 200
            first, last = running.journal.reservations
            assert first.id == last.id and first.worst_case and last.worst_case and last.worst_case > first.worst_case
            assert (running.record.cost or 0) <= last.worst_case
            asked = len(two.asked)
        between = (first.worst_case + last.worst_case) // 2
        async with rig(config + cap(f"{between / 10**9:.9f} USD / day"), spent={}) as running:
            assert (await running.ask("POST", "/v1/chat/completions", body)).status == 504
            assert len(two.asked) == asked and total(running) <= between, "what the first try may have cost left no room for the fallback"


@on_loop
async def test_a_full_budget_sends_to_a_cheaper_tier_then_refuses() -> None:
    async with scripted(answer(completion())) as one, scripted(answer(completion())) as two:
        config = fallback(one.url, two.url).replace('tiers = ["small"]\nfallback = ["large"]', 'tiers = ["large"]')
        body = chat_body(model="auto", max_tokens=20)
        room = cap("0.0005 USD / day", "downgrade")
        async with rig(config + room, spent={}) as running:
            reply = await running.ask("POST", "/v1/chat/completions", body)
            assert reply.status == 200 and reply.headers["penstock-tier"] == "small"
            record = running.record
            assert (record.steered, record.steered_from, record.model) == ("budget:cap", "dear", "cheap")
        async with rig(config + room, spent={"cap": 490_000}) as running:
            assert (await running.ask("POST", "/v1/chat/completions", body)).status == 402


@on_loop
async def test_a_queue_waits_for_room_then_refuses() -> None:
    config = cap("0.0004 USD / day", "queue", more='max_wait = "400ms"')
    async with scripted(hanging()) as up:
        quick = 'timeout = { connect = "200ms", first_token = "150ms", idle = "150ms", answer = "150ms" }\nretries = 0'
        async with rig(one_upstream(up.url, upstream=quick, more=config), spent={"cap": 200_000}) as running:
            assert (await running.chat()).status == 402, "waited, and nothing freed up"
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=config), spent={}) as running:
        replies = await asyncio.gather(*(running.chat(f"{n}") for n in range(2)))
        assert [reply.status for reply in replies] == [200, 200], "one waited until the other's reservation was settled"


@on_loop
async def test_a_key_has_a_budget_of_its_own() -> None:
    key = ApiKey(id="key_1", prefix="psk_aa", sha256=fingerprint(SECRET), created_ns=1, budget="0.0003 USD / day")
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url), keys=[key], spent={}) as running:
        bearer = {"authorization": f"Bearer {SECRET}"}
        assert (await running.chat(headers=bearer)).status == 200
        assert (await running.chat("a longer text", headers=bearer)).status == 402
        assert (await running.chat("nobody's")).status == 200


@on_loop
async def test_gpu_hours_are_held_by_planned_work() -> None:
    fleet = '[fleets.own]\nupstream = "main"\ngpu = "L4"\nprice = "1 USD/gpu-hour"\nplanned_tokens_per_second = 100\n'
    hours = cap("0.0004 gpu-hours / day", where='fleet = "own"')
    config = one_upstream("URL", more=fleet + hours).replace("price = { input = 1, output = 2 }\n", "")
    async with scripted(answer(completion())) as up, rig(config.replace("URL", up.url), spent={}) as running:
        assert (await running.chat()).status == 200, "100 tokens at 100 a second hold a second of one GPU, of 1.44"
        assert running.gateway.purses is not None
        [purse] = running.gateway.purses.all()
        assert purse.spent == 50_000, "five tokens took 50 ms"
        for n in range(20):
            await running.chat(f"{n}")
        assert running.last.status == 402


@on_loop
async def test_cached_answers_need_no_budget() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=cap("0.0003 USD / day")), spent={}) as running:
        assert [(await running.chat()).status for _ in range(3)] == [200, 200, 200]
        assert len(up.asked) == 1


class Away:
    """A book that cannot be asked."""

    def __getattr__(self, name: str) -> object:
        async def away(*args: object) -> None:
            raise BookError("the store that hosts share is away", "start it")

        return away


@on_loop
async def test_while_the_book_is_away_a_cap_is_closed_or_open_as_it_says() -> None:
    async with scripted(answer(completion())) as up:
        for fail, status in (("closed", 503), ("open", 200)):
            async with rig(one_upstream(up.url, more=cap(more=f'fail = "{fail}"')), spent={}) as running:
                purses = running.gateway.purses
                assert purses is not None
                purses._book, book = Away(), purses._book  # type: ignore[assignment]
                assert (await running.chat(f"away {fail}")).status == status
                purses._book = book
                await asyncio.sleep(RETRY_S)
                assert (await running.chat("back again")).status == 200


@on_loop
async def test_a_stream_tells_what_is_left() -> None:
    async with scripted(stream(stream_events())) as up, rig(one_upstream(up.url, more=cap()), spent={}) as running:
        reply = await running.chat(stream=True)
        assert reply.whole and "penstock-budget-left-usd" in reply.headers


def test_the_book_lies_beside_the_journal(tmp_path: Path) -> None:
    from penstock.adapters.shared import open_book
    from penstock.adapters.shared.local import LocalBook

    assert isinstance(open_book("local://", tmp_path), LocalBook)


@on_loop
async def test_a_queue_sees_the_window_move_on() -> None:
    config = cap("0.0004 USD / rolling 2s", "queue", more='max_wait = "4s"')
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=config), spent={"cap": 200_000}) as running:
        assert (await running.chat()).status == 200, "what was spent before has left the window"
