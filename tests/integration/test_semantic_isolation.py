"""Whatever tenants send, none ever gets another one's answer: with an embedder to which all texts are the same, and a judge that trusts
whatever it is shown."""

import asyncio
from collections.abc import Sequence
from typing import Any

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from penstock.ports.key_store import ApiKey
from tests.integration.gateway_rig import Reply, on_loop, one_upstream
from tests.integration.semantic_rig import ON, SemanticRig, WordEmbedder, semantic
from tests.integration.test_semantic import by, key
from tests.integration.upstream_rig import Play, Scripted, answer, completion, scripted, stream, stream_events

KEYS: dict[str, ApiKey] = {
    "red": key("red"),
    "blue": key("blue"),
    "first": key("first", tenant="shared"),
    "second": key("second", tenant="shared"),
    "spoof": key("spoof", tenant="keyless"),
    "spaced": key("spaced", tenant="shared keyless"),
}
TENANT = {"red": "red", "blue": "blue", "first": "shared", "second": "shared", "spoof": "spoof", "spaced": "spaced", "": "nobody"}
TEXTS = ["Open the gate", "open the gate", "please open the gate!", "shut the sluice", "how high is the river?", "ouvre la porte", "🚪🚪"]


def naming(upstream: list[Scripted]) -> Play:
    """Answers every call with the name of who asked, as the call says it."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = upstream[0].asked[-1].json
        text = f"for {asked['metadata']['owner']}"
        whole = stream(stream_events(text)) if asked.get("stream") else answer(completion(text))
        writer.write(whole)
        await writer.drain()

    return play


Asking = tuple[str, str, bool, str, str]
ASKINGS = st.lists(
    st.tuples(
        st.sampled_from(sorted(TENANT)),
        st.sampled_from(TEXTS),
        st.booleans(),
        st.sampled_from(["", "red", "ada"]),
        st.sampled_from(["a", "b"]),
    ),
    min_size=2,
    max_size=14,
)


@given(ASKINGS)
def test_no_tenant_gets_another_ones_answer(askings: list[Asking]) -> None:
    uvloop.run(_play(askings, ON))


@given(ASKINGS)
def test_tags_of_the_scope_part_as_tenants_do(askings: list[Asking]) -> None:
    more = f'[cache]\nscope = ["tenant", "team"]\n{ON}'
    uvloop.run(_play(askings, more, by_team=True))


@on_loop
async def test_the_trusting_judge_does_serve() -> None:
    """The property would hold of a cache that never answers."""
    asked = [("red", TEXTS[0], False, "", "a"), ("red", TEXTS[3], True, "", "a"), ("red", TEXTS[1], False, "", "a")]
    assert await _play(asked, ON) == ["miss", "semantic", "normalised"]
    shared = [("first", TEXTS[0], False, "", "a"), ("second", TEXTS[4], False, "", "a"), ("blue", TEXTS[4], False, "", "a")]
    assert await _play(shared, ON) == ["miss", "semantic", "miss"]


async def _play(askings: Sequence[Asking], more: str, *, by_team: bool = False) -> list[str]:
    """Asks in order; what the cache made of each."""
    outcomes, upstreams = list[str](), list[Scripted]()
    async with scripted(naming(upstreams)) as upstream:
        upstreams.append(upstream)
        text = one_upstream(upstream.url, more=more)
        async with semantic(text, embedder=WordEmbedder(same=True), keys=list(KEYS.values())) as rig:
            rig.trust()
            for name, text, streamed, user, team in askings:
                owner = TENANT[name] + (f" {team}" if by_team else "")
                reply = await _asked(rig, name, text, streamed, user, team, owner)
                said = reply.text if streamed else reply.json["choices"][0]["message"]["content"]
                assert said == f"for {owner}", f"{owner} got an answer that was made {said}"
                outcomes.append(reply.headers["penstock-cache"])
    return outcomes


async def _asked(rig: SemanticRig, name: str, text: str, streamed: bool, user: str, team: str, owner: str) -> Reply:
    headers = {"penstock-tag-team": team, **(by(name) if name else {}), **({"penstock-tag-user": user} if user else {})}
    fields: dict[str, Any] = {"stream": True} if streamed else {}
    reply = await rig.running.chat(text, headers, metadata={"owner": owner}, **fields)
    assert reply.status == 200, reply.body
    await rig.meaning.learned()
    return reply
