"""Rate limits on the data plane: what is let through, what is answered 429, what clients are told, and that nothing stays held."""

import asyncio

from penstock.ports.key_store import ApiKey, fingerprint
from tests.integration.gateway_rig import on_loop, one_upstream, rig
from tests.integration.upstream_rig import answer, completion, hanging, scripted

SECRET = "psk_" + "a" * 48


def limit(text: str) -> str:
    return f'[[limits]]\nname = "fair"\n{text}\n'


@on_loop
async def test_requests_beyond_the_limit_are_answered_429() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=limit('requests = "5 / minute"'))) as running:
        replies = [await running.chat(f"{n}") for n in range(7)]
        assert [reply.status for reply in replies] == [200] * 5 + [429] * 2
        told = [reply.headers["x-ratelimit-remaining-requests"] for reply in replies]
        assert told == ["4", "3", "2", "1", "0", "0", "0"] and replies[0].headers["x-ratelimit-limit-requests"] == "5"
        last = replies[-1]
        assert 55 <= int(last.headers["retry-after"]) <= 65 and last.headers["penstock-error"] == "limit"
        assert "`fair` is 5 / minute requests" in last.error["message"]
        assert len(up.asked) == 5


@on_loop
async def test_a_limit_of_seconds_lets_through_again() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=limit('requests = "2 / second"'))) as running:
        replies = [await running.chat(f"{n}") for n in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        await asyncio.sleep(int(replies[-1].headers["retry-after"]))
        assert (await running.chat("again")).status == 200


@on_loop
async def test_a_crowd_gets_no_more_than_the_limit() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=limit('requests = "40 / hour"'))) as running:
        replies = await asyncio.gather(*(running.chat(f"{n}") for n in range(100)))
        assert sum(reply.status == 200 for reply in replies) == 40 and len(up.asked) == 40


@on_loop
async def test_each_value_has_a_limit_of_its_own() -> None:
    config = limit('by = ["team"]\nrequests = "1 / hour"')
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=config)) as running:
        for team, status in (("a", 200), ("b", 200), ("a", 429), ("a/b", 200), ("c", 200)):
            assert (await running.chat(team, headers={"penstock-tag-team": team})).status == status, team


@on_loop
async def test_a_limit_holds_only_where_it_says() -> None:
    config = limit('where = { team = "a" }\nrequests = "1 / hour"')
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=config)) as running:
        assert [(await running.chat(f"{n}", headers={"penstock-tag-team": "a"})).status for n in range(2)] == [200, 429]
        free = [await running.chat(f"free {n}") for n in range(2)]
        assert [reply.status for reply in free] == [200, 200] and "x-ratelimit-limit-requests" not in free[0].headers


@on_loop
async def test_tokens_are_held_at_an_estimate_and_settled_at_what_was_used() -> None:
    config = limit('tokens = "400 / hour"')
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=config)) as running:
        replies = [await running.chat(f"{n}", max_tokens=100) for n in range(30)]
        served = sum(reply.status == 200 for reply in replies)
        assert 18 <= served <= 20, "15 tokens each, while 100 and the prompt must be free for one more"
        assert int(replies[0].headers["x-ratelimit-remaining-tokens"]) == 385


@on_loop
async def test_only_so_many_at_once() -> None:
    quick = 'timeout = { connect = "200ms", first_token = "200ms", idle = "200ms", answer = "200ms" }\nretries = 0'
    async with scripted(hanging()) as up, rig(one_upstream(up.url, upstream=quick, more=limit("concurrent = 3"))) as running:
        replies = await asyncio.gather(*(running.chat(f"{n}") for n in range(8)))
        assert sorted(reply.status for reply in replies) == [429] * 5 + [504] * 3
        assert (await running.chat("one more")).status == 504, "the places came free"


@on_loop
async def test_a_key_has_limits_of_its_own() -> None:
    key = ApiKey(id="key_1", prefix="psk_aa", sha256=fingerprint(SECRET), created_ns=1, requests="2 / hour")
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url), keys=[key]) as running:
        bearer = {"authorization": f"Bearer {SECRET}"}
        assert [(await running.chat(f"{n}", headers=bearer)).status for n in range(3)] == [200, 200, 429]
        assert (await running.chat("nobody's")).status == 200


@on_loop
async def test_anthropic_clients_are_told_in_their_words() -> None:
    config = one_upstream("URL", more=limit('requests = "5 / minute"\ntokens = "9000 / minute"'))
    async with scripted(answer(completion())) as up, rig(config.replace("URL", up.url)) as running:
        body = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
        reply = await running.ask("POST", "/v1/messages", body)
        assert reply.status == 200 and reply.headers["anthropic-ratelimit-requests-remaining"] == "4"
        assert reply.headers["anthropic-ratelimit-tokens-limit"] == "9000" and reply.headers["anthropic-ratelimit-requests-reset"].endswith(
            "Z"
        )


@on_loop
async def test_replays_count_as_requests() -> None:
    async with scripted(answer(completion())) as up, rig(one_upstream(up.url, more=limit('requests = "2 / hour"'))) as running:
        assert [(await running.chat()).status for _ in range(3)] == [200, 200, 429] and len(up.asked) == 1
