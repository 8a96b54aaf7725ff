"""The cache by meaning in the firm's history: its frequent questions, played through the laws that decide in the gateway.

What is served, probed and refused, what that taught, and how often it was wrong are all theirs; only the traffic is made up. What comes of
it: a record for each request, and the log that the cache would have written.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

import msgspec
import numpy as np
import orjson

from penstock.config.caching import SemanticCache
from penstock.demo.calendar import HOUR_NS
from penstock.demo.faq import Topic, pick, topics
from penstock.domain.ledger.record import CacheDecision, CacheOutcome, UsageRecord
from penstock.domain.routing.similarity.answers import agreement
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Compared, Judgement, Looked, Neighbour
from penstock.domain.routing.similarity.wording import normalised
from penstock.ports.answer_store import Entry, Event, Evidence, Used
from penstock.ports.cache import CachedAnswer

NEIGHBOURS = 8
COMPARED, NEAR = 5, 0.6
"""so many of the nearest are compared with a fresh answer, down to this cosine; and whatever was judged best"""
ALIKE, AGREED = 0.8, 0.9
"""from this cosine of the questions and this agreement of the answers on, both are one answer in two wordings; as the gateway has it"""
WRITER = "northwater-1"
_VERDICTS: Mapping[str, Literal["served", "probe", "refused", "nothing"]] = {
    "serve": "served", "probe": "probe", "refuse": "refused", "nothing": "nothing",
}  # fmt: skip
_NS = 10**9


class Meant(msgspec.Struct, frozen=True):
    """What an embedder and the gateway make of the questions."""

    stamp: str
    """of the embedder"""
    vectors: dict[str, bytes]
    """text -> float32, little-endian, of length 1: questions and answers"""
    scope: tuple[str, ...]
    partition: bytes
    """in which live traffic looks for these questions"""


class Log(msgspec.Struct, frozen=True):
    """What the cache would have written, in its order."""

    events: list[Event]
    answers: list[tuple[str, CachedAnswer]]
    judges: bytes
    """scope in words -> what its judge has learned from them, as MessagePack"""


class Asked(NamedTuple):
    """One request of a customer."""

    at_ns: int
    user: str
    topic: Topic
    text: str


class Makes(NamedTuple):
    """How records are made: `fresh` by a model that says a text, `again` out of a layer of the cache."""

    fresh: Callable[[Asked, str], UsageRecord]
    again: Callable[[Asked, UsageRecord, CacheOutcome], UsageRecord]


class _Kept(NamedTuple):
    """An answer at hand."""

    entry: Entry
    said: str
    record: UsageRecord


class Answering:
    """One scope and partition."""

    def __init__(self, given: SemanticCache, meant: Meant, makes: Makes, rng: random.Random) -> None:
        self._meant, self._makes, self._rng, self._given = meant, makes, rng, given
        self._decider = Decider(given.mode, given.max_error, given.similarity, given.probe)
        self._ttl_ns = int(given.ttl * _NS)
        self._exact: dict[str, tuple[int, UsageRecord]] = {}
        self._kept: list[_Kept] = []
        """the oldest first"""
        self._users: dict[str, set[str]] = {}
        """label -> who was told so"""
        self._served: dict[str, int] = {}
        self._tally = Looked()
        self._events: list[Event] = []
        self._rows = {text: row for row, text in enumerate(meant.vectors)}
        vectors = np.array([np.frombuffer(vector, "<f4") for vector in meant.vectors.values()])
        self._cosines = vectors @ vectors.T
        self._wordings = {
            text: blake2b(normalised(text).encode(), digest_size=16, key=meant.partition).digest()
            for topic in topics() for text in topic.asked
        }  # fmt: skip

    def hour(self, hour_ns: int, asked: Sequence[Asked], others: int, repeats: int) -> list[UsageRecord]:
        """The records of an hour's questions. `others`: further requests that the cache looked at, of which `repeats` were exact ones."""
        self._count(Looked(others, repeats))
        records = [self._answered(each) for each in asked]
        self._events.append(
            Used(at_ns=hour_ns + HOUR_NS - 1, worker=WRITER, served=self._served, scopes={" ".join(self._meant.scope): self._tally})
        )
        self._served, self._tally = {}, Looked()
        return records

    def log(self, now_ns: int) -> Log:
        """What is left of it at an instant: entries that have not expired, and all that was learned."""
        left = [each for each in self._kept if each.entry.expires_ns > now_ns]
        events = sorted([*self._events, *(each.entry for each in left)], key=lambda event: event.at_ns)
        judges = msgspec.msgpack.encode({" ".join(self._meant.scope): self._decider.state()})
        return Log(events, [(each.entry.id, _answer(each)) for each in left], judges)

    def _answered(self, asked: Asked) -> UsageRecord:
        now_ns = asked.at_ns
        if self._kept and self._kept[0].entry.expires_ns <= now_ns:
            self._hold([each for each in self._kept if each.entry.expires_ns > now_ns])
        until_ns, before = self._exact.get(asked.text, (0, None))
        if before is not None and until_ns > now_ns:
            self._count(Looked(1, exact=1))
            return self._makes.again(asked, before, "exact")
        wording = self._wordings[asked.text]
        same = next((each for each in reversed(self._kept) if each.entry.wording == wording and self._servable(each, asked.user)), None)
        if same is not None:
            self._count(Looked(1, normalised=1))
            decision = CacheDecision("served", self._given.mode, entry=same.entry.id)
            return self._hit(asked, same, "normalised", decision)
        return self._by_meaning(asked, wording)

    def _by_meaning(self, asked: Asked, wording: bytes) -> UsageRecord:
        near = self._near(asked)
        judged = self._decider.decide(asked.text, [neighbour for neighbour, _ in near], self._rng.random())
        if judged.verdict == "serve":
            self._count(Looked(1, semantic=1, risk=judged.risk or 0.0))
            found = next(kept for neighbour, kept in near if neighbour.entry == judged.entry)
            return self._hit(asked, found, "semantic", self._decision(judged))
        probe = judged.verdict == "probe"
        self._count(Looked(1, probes=int(probe)))
        said = asked.topic.says[int(self._rng.random() * len(asked.topic.says))]
        record = msgspec.structs.replace(
            self._makes.fresh(asked, said), cache_decision=self._decision(judged), would_cache="semantic" if probe else None
        )
        self._learn(asked, wording, near, judged, said, record)
        return record

    def _learn(
        self, asked: Asked, wording: bytes, near: Sequence[tuple[Neighbour, _Kept]], judged: Judgement, said: str, record: UsageRecord
    ) -> None:
        """Compares the fresh answer with what stood near, and keeps it."""
        chosen = judged.entry if judged.verdict in ("probe", "refuse") else None
        agreed = {
            neighbour.entry: self._agreed(said, kept.said)
            for at, (neighbour, kept) in enumerate(near)
            if neighbour.entry == chosen or (at < COMPARED and neighbour.similarity >= NEAR)
        }
        compared = tuple(
            Compared(neighbour.entry, neighbour.similarity, features, found)
            for (neighbour, _), features in zip(near, judged.features, strict=False)
            if (found := agreed.get(neighbour.entry)) is not None
        )
        fits = judged.verdict == "probe"
        propensity = 1 - judged.propensity if fits and judged.propensity < 1 else 1.0
        if compared:
            self._decider.learn(compared, chosen, fits, propensity)
            self._events.append(
                Evidence(
                    id=record.id,
                    at_ns=asked.at_ns,
                    partition=self._meant.partition,
                    scope=self._meant.scope,
                    compared=compared,
                    chosen=chosen,
                    fits=fits,
                    risk=judged.risk if chosen is not None else None,
                    propensity=propensity,
                    user=asked.user,
                    embedder=self._meant.stamp,
                )
            )
        alike = next((n.answer for n, _ in near if n.similarity >= ALIKE and (agreed.get(n.entry) or 0.0) >= AGREED), None)
        self._keep(asked, wording, said, record, alike)

    def _keep(self, asked: Asked, wording: bytes, said: str, record: UsageRecord, alike: str | None) -> None:
        """The newest entry of a wording stands for all of them; it knows who else was told the same."""
        users = self._users.get(alike, set()) if alike is not None else set()
        entry = Entry(
            id=record.id, at_ns=asked.at_ns, expires_ns=asked.at_ns + self._ttl_ns,
            partition=self._meant.partition, scope=self._meant.scope,
            wording=wording, text=asked.text, vector=self._meant.vectors[asked.text], embedder=self._meant.stamp, model=record.model or "",
            upstream=record.upstream or "", tier=record.tier, user=asked.user, users=tuple(sorted(users - {asked.user})), tags=record.tags,
            answer_bytes=len(said), worth=record.list_cost, alike=alike,
        )  # fmt: skip
        self._hold([*(each for each in self._kept if each.entry.wording != wording), _Kept(entry, said, record)])
        self._exact[asked.text] = (entry.expires_ns, record)

    def _near(self, asked: Asked) -> list[tuple[Neighbour, _Kept]]:
        """The nearest entries, the nearest first."""
        cosines = self._cosines[self._rows[asked.text]]
        found = sorted(((float(cosines[self._rows[each.entry.text]]), each) for each in self._kept), key=lambda each: -each[0])
        return [
            (Neighbour(each.entry.id, each.entry.text, cosine, _label(each), self._servable(each, asked.user)), each)
            for cosine, each in found[:NEIGHBOURS]
        ]

    def _servable(self, kept: _Kept, user: str) -> bool:
        users = self._users[_label(kept)]
        return user in users or len(users) >= self._given.users

    def _hold(self, kept: list[_Kept]) -> None:
        self._kept, self._users = kept, {}
        for each in kept:
            self._users.setdefault(_label(each), set()).update((each.entry.user or "", *each.entry.users))

    def _agreed(self, said: str, other: str) -> float | None:
        return agreement(said, other, float(self._cosines[self._rows[said], self._rows[other]]))

    def _hit(self, asked: Asked, kept: _Kept, layer: CacheOutcome, decision: CacheDecision) -> UsageRecord:
        self._served[kept.entry.id] = self._served.get(kept.entry.id, 0) + 1
        return msgspec.structs.replace(self._makes.again(asked, kept.record, layer), cache_decision=decision, would_cache=None)

    def _decision(self, judged: Judgement) -> CacheDecision:
        return CacheDecision(
            _VERDICTS[judged.verdict], judged.mode, entry=judged.entry, similarity=judged.similarity, risk=judged.risk,
            threshold=judged.threshold, propensity=judged.propensity, guards=judged.guards, embedding_us=embedding_us(self._rng),
        )  # fmt: skip

    def _count(self, more: Looked) -> None:
        self._decider.looked(more)
        fields = zip(msgspec.structs.astuple(self._tally), msgspec.structs.astuple(more), strict=True)
        self._tally = Looked(*(before + added for before, added in fields))


def asked_in(times: Sequence[int], users: Sequence[str], rng: random.Random) -> Iterator[Asked]:
    """What is asked at these instants: popular topics more often, and their first wordings."""
    for at_ns in times:
        topic = topics()[pick(rng)]
        text = topic.asked[int(rng.random() ** 1.5 * len(topic.asked))]
        yield Asked(at_ns, users[int(rng.random() ** 2 * len(users))], topic, text)


def embedding_us(rng: random.Random) -> int:
    """How long the embedding of a short question takes."""
    return 1_300 + int(2_400 * rng.random() ** 2)


def _label(kept: _Kept) -> str:
    return kept.entry.alike or kept.entry.id


def _answer(kept: _Kept) -> CachedAnswer:
    """The answer as the gateway keeps it."""
    record = kept.record
    usage = {
        "prompt_tokens": record.tokens.input, "completion_tokens": record.tokens.output, "total_tokens": record.tokens.total,
    }  # fmt: skip
    body = {
        "id": f"chatcmpl-{record.id}", "object": "chat.completion", "created": record.admitted_ns // _NS, "model": record.model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": kept.said}, "finish_reason": "stop"}], "usage": usage,
    }  # fmt: skip
    return CachedAnswer(
        request_id=record.id, model=record.model or "", upstream=record.upstream or "", tier=record.tier, streamed=False,
        body=orjson.dumps(body), usage=orjson.dumps(usage), tokens=record.tokens, tokens_estimated=False, finish_reason="stop",
        response_model=record.response_model,
    )  # fmt: skip
