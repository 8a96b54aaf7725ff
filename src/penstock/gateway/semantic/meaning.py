"""The semantic cache of one worker: answers in the same words, or of the same meaning, and what is learned from every miss."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from penstock.config.caching import Cache
from penstock.domain.dialects.usage import estimate_tokens
from penstock.domain.ledger.record import CacheDecision, UsageRecord
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.semantic.asking import fit_question, look_of
from penstock.gateway.semantic.asking_again import AskingAgain
from penstock.gateway.semantic.embedding import Embeddings, NoVector
from penstock.gateway.semantic.embedding_cost import hold_embedding
from penstock.gateway.semantic.entries import Entries, Kept, MayUse
from penstock.gateway.semantic.faults import Faults
from penstock.gateway.semantic.following import Following, Piece
from penstock.gateway.semantic.learning import Learning, Lesson, lesson_of
from penstock.gateway.semantic.look import Embedding, Found, Look
from penstock.gateway.semantic.replica import Replica
from penstock.gateway.semantic.scopes import Scopes
from penstock.gateway.semantic.shelf import Shelf
from penstock.gateway.semantic.withdrawn import Withdrawn
from penstock.gateway.steps.recall import replay
from penstock.ports.answer_store import JUDGES, AnswerStore, AnswerStoreError, Entry, Removal, Told
from penstock.ports.cache import CachedAnswer
from penstock.ports.embedder import Vectors
from penstock.ports.vector_index import VectorIndex

LEARNING_AT_ONCE: Final = 32
"""answers that are compared at the same time; beyond that what could be learned is let go"""
TALLY_S: Final = 1.0
"""how often the log is told what was served"""
ROOM: Final = 1.25
"""of `max_bytes`: from there on nothing new is kept until somebody has tidied"""
UNREADY: Final = "the store is still being read"
OUTRUN: Final = "the model answered first"


class Meaning:
    """The facade. `open_store` opens the store of answers anew for each thread that reads it; `draw` throws the dice for probes."""

    def __init__(
        self,
        settings: Cache,
        name: str,
        embeddings: Embeddings,
        open_store: Callable[[], AnswerStore],
        new_index: Callable[[], VectorIndex],
        log: Callable[[str], None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._draw = draw
        self._settings, self._name = settings.semantic, name
        self.shadow = settings.semantic.mode == "shadow"
        self._embeddings = embeddings
        self._entries = Entries(new_index, settings.semantic.users)
        self._scopes = Scopes(settings.semantic)
        self._shelf = Shelf(open_store)
        self._withdrawn = Withdrawn(settings.exact.ttl)
        self._faults = Faults(log)
        self._replica = Replica(self._entries, self._shelf, self._scopes, self._withdrawn, self._faults.tell)
        self._following = Following(open_store, self._replica.read, self._scopes.restore, self._replica.clear, JUDGES, log)
        self._again = AskingAgain()
        self._learning = Learning(self._entries, self._shelf, embeddings, self._scopes.decider, self._has_room, self._faults.tell)
        self._lessons: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._full = False
        self._let_go = 0

    # --- the life of it

    async def start(self) -> None:
        """Begins to read the log; look-ups before it has been read are misses."""
        self._following.start()
        self._ticking = asyncio.create_task(self._tick())

    async def close(self) -> None:
        """Ends what is under way, and appends what has been learned."""
        if self._ticking is not None:
            self._ticking.cancel()
        if self._lessons:
            _, late = await asyncio.wait(self._lessons, timeout=1.0)
            for lesson in late:
                lesson.cancel()
        self._tell_used()
        await self._following.close()
        await self._shelf.close()
        await self._embeddings.close()

    @property
    def embeddings(self) -> Embeddings:
        """For texts of others than the cache."""
        return self._embeddings

    async def learned(self) -> None:
        """Returns when nothing is being compared any more."""
        while self._lessons:
            await asyncio.wait(self._lessons)

    @property
    def ready(self) -> bool:
        return self._following.ready

    def gauges(self) -> dict[str, Any]:
        return {
            "entries": len(self._entries),
            "bytes": self._entries.size,
            "waiting": self._following.waiting,
            "dropped": self._following.dropped + self._let_go,
            "store_up": not self._following.away,
        }

    # --- a request

    def exact(self, x: Exchange) -> None:
        """A request was answered by the exact layer. It counts as one, of which a share may be wrong, where it could have been looked for
        by meaning: as it would have counted had it been a miss. Else nothing could go wrong, and it is counted among exact hits only."""
        try:
            fit = not isinstance(fit_question(x), str)
        except Exception as problem:  # whatever it is: the request has its answer
            self._faults.tell(f"on request {x.id}", problem)
            fit = False
        self._scopes.tally(" ".join(x.scope), requests=int(fit), exact=1)

    def withdrawn(self, x: Exchange, request: str) -> bool:
        """Whether nobody may get the answer of that request again, not even who asks the very same, as `x` does."""
        now_at = time.monotonic()
        if self._withdrawn.has(request, now_at):
            return True
        if not self._withdrawn.may_have(request):
            return False
        try:
            look = look_of(x, self._settings.ttl)
        except Exception as problem:  # whatever it is: a model answers
            self._faults.tell(f"on request {x.id}", problem)
            return True
        return not isinstance(look, str) and self._withdrawn.has_wording(look.wording, request, now_at)

    async def recall(self, gateway: Gateway, x: Exchange) -> bool:
        """Answers in the same words or of the same meaning when it can. True: answered."""
        look = self._looks(x)
        if look is None:
            return False
        x.look = look
        self._scopes.tally(look.scope_key, requests=1)
        self._heed_again(x, look)
        if not self.ready:
            x.cache_decision = self._not_looked(UNREADY)
            return False
        if await self._by_words(gateway, x, look):
            return True
        if x.would_cache is not None:
            return False
        if self.shadow or self._settings.hedge:
            x.looking = asyncio.create_task(self._search(gateway, x, look))
            return False
        return self.answer(gateway, x, await self._search(gateway, x, look))

    def afresh(self, x: Exchange) -> None:
        """The client wants no answer from the cache: what it gets is learned from all the same."""
        x.look = self._looks(x)
        x.cache_decision = None
        if x.look is not None:
            self._heed_again(x, x.look)

    def answer(self, gateway: Gateway, x: Exchange, found: Found) -> bool:
        """Notes what a look-up came to, and answers with what it found. False: a model must answer."""
        look = x.look
        assert look is not None
        self.note(gateway, x, found)
        if found.answer is None or found.judgement is None or found.judgement.entry is None:
            return False
        if not replay(gateway, x, found.answer, "semantic"):
            look.chosen = None
            x.cache_decision = self._not_looked("its answer cannot be told in the form that was asked for")
            return False
        self._scopes.tally(look.scope_key, semantic=1, risk=found.judgement.risk or 0.0)
        self._scopes.served(found.judgement.entry)
        return True

    def note(self, gateway: Gateway, x: Exchange, found: Found) -> None:
        """Puts what a look-up came to on the exchange: the decision, and what it cost."""
        look, judged = x.look, found.judgement
        assert look is not None
        if found.embedding is not None:
            x.embedding_cost = self._embeddings.cost(gateway.prices, found.embedding, x.admitted_ns)
            x.embedding_guessed = found.embedding.guessed
            x.embedding_own = self._is_own(gateway)
        if judged is None:
            x.cache_decision = self._not_looked(found.reason or "", found.embedding)
            return
        fits = judged.verdict in ("serve", "probe")
        probed = judged.verdict == "probe" or (self.shadow and fits)
        if probed or not fits:
            look.chosen = judged.entry
        if probed:
            look.fits = True
            x.would_cache = "semantic"
            if not self.shadow:
                look.propensity = 1 - judged.propensity if judged.propensity < 1 else 1.0
            if self.shadow:  # counted as served, so that the promise is kept as it would be
                self._scopes.tally(look.scope_key, semantic=1, risk=judged.risk or 0.0)
            else:
                self._scopes.tally(look.scope_key, probes=1)
        x.cache_decision = CacheDecision(
            "probe" if probed else "served" if fits else "refused" if judged.verdict == "refuse" else "nothing",
            judged.mode,
            entry=judged.entry,
            similarity=judged.similarity,
            risk=judged.risk,
            threshold=judged.threshold,
            propensity=judged.propensity,
            guards=judged.guards,
            embedding_us=found.embedding.us if found.embedding is not None else None,
        )
        if fits and not probed and found.answer is None:
            x.cache_decision = self._not_looked(found.reason or "", found.embedding)

    def outrun(self, gateway: Gateway, x: Exchange, found: Found | None) -> None:
        """The model has answered, or the request has ended, before what was found could be served. None: nothing is found yet."""
        look = x.look
        assert look is not None
        if found is not None:
            self.note(gateway, x, found)
        elif self.pays:
            guess = Embedding(0, estimate_tokens(len(look.text.encode("utf-8", "replace"))), guessed=True)
            self.note(gateway, x, Found(reason=OUTRUN, embedding=guess))
        if found is None or found.answer is not None:
            look.chosen = None
            x.cache_decision = self._not_looked(OUTRUN, found.embedding if found is not None else None)

    @property
    def pays(self) -> bool:
        """Whether embedding costs something, so that a request must wait for what it came to."""
        return not self._embeddings.free

    def replayed(self, x: Exchange) -> None:
        """The client has got an answer of another request."""
        if x.look is not None and x.hit is not None:
            risk = x.cache_decision.risk if x.cache_decision is not None else None
            self._again.served(x.look.user, x.look.asked, x.id, x.hit.request_id, risk)

    # --- what is learned

    def learn(self, x: Exchange, answer: CachedAnswer, record: UsageRecord) -> None:
        """Compares a fresh answer with what is kept, and keeps it: in the background, after the client has it."""
        assert x.look is not None
        lesson = lesson_of(x.look, x.endpoint, answer, x.tags, record.list_cost, x.may_use, self._embeddings.may_see(x.permitted))
        if lesson is None:
            return
        if len(self._lessons) >= LEARNING_AT_ONCE:
            self._let_go += 1
            return
        task = asyncio.create_task(self._learn(lesson, x.looking))
        self._lessons.add(task)
        task.add_done_callback(self._lessons.discard)

    async def _learn(self, lesson: Lesson, looking: "asyncio.Task[Found] | None") -> None:
        try:
            if looking is not None:
                await asyncio.wait([looking])
            events = await self._learning.events_of(lesson, self.ready)
        except Exception as problem:  # whatever it is: the client has its answer, and others are learned from
            self._faults.tell(f"to learn from request {lesson.answer.request_id}", problem)
            return
        entries = [event for event in events if isinstance(event, Entry)]
        if not events or not self._following.queue(Piece(events, tuple((entry.id, lesson.answer) for entry in entries))):
            return
        for event in events:
            if isinstance(event, Entry | Removal):
                self._replica.take(event)
        for entry in entries:
            self._shelf.keep(entry.id, lesson.answer)

    # --- inside

    def _looks(self, x: Exchange) -> Look | None:
        """The question of a request; None, and the reason on the exchange, where it is not looked for."""
        try:
            look = look_of(x, self._settings.ttl)
        except Exception as problem:  # whatever it is: the request goes on
            self._faults.tell(f"on request {x.id}", problem)
            x.cache_decision = self._not_looked(f"it failed: {type(problem).__name__}")
            return None
        if isinstance(look, str):
            x.cache_decision = CacheDecision("unfit", self._settings.mode, reason=look)
            return None
        return look

    def _heed_again(self, x: Exchange, look: Look) -> None:
        """Who asks the very same again at once is not answered from the same entry, and that is told: a user with a name, or who says that
        another answer is wanted; behind a key may be many who ask the same."""
        if not look.named and x.heads.cache != b"no-cache":
            return
        before = self._again.of(look.user, look.asked)
        if before is not None:
            look.banned = before.entry
            told = Told(
                id=before.request, at_ns=x.admitted_ns, entry=before.entry, right=False, source="regenerate", risk=before.risk,
                scope=look.scope,
            )  # fmt: skip
            self._following.queue(Piece((told,)))

    async def _by_words(self, gateway: Gateway, x: Exchange, look: Look) -> bool:
        """The same question but for case, spaces and politeness: needs no vector."""
        try:
            same = list(self._entries.same_words(look, time.time_ns(), time.monotonic()))
        except Exception as problem:  # whatever it is: the request goes on
            self._faults.tell(f"on request {x.id}", problem)
            return False
        for kept in same:
            if kept.id == look.banned or not self._entries.servable(kept, look.user) or not x.may_use(kept.upstream, kept.tier):
                continue
            if self.shadow:
                x.would_cache = "normalised"
                x.cache_decision = CacheDecision("probe", "shadow", entry=kept.id, propensity=0.0)
                self._scopes.tally(look.scope_key, normalised=1)
                return False
            answer, _ = await self._answer(kept)
            if answer is not None and replay(gateway, x, answer, "normalised"):
                x.cache_decision = CacheDecision("served", self._settings.mode, entry=kept.id)
                self._scopes.tally(look.scope_key, normalised=1)
                self._scopes.served(kept.id)
                return True
        return False

    async def _search(self, gateway: Gateway, x: Exchange, look: Look) -> Found:
        """Looks by meaning."""
        if not self._embeddings.may_see(x.permitted):
            return Found(reason="a rule keeps the question from the embedder")
        embedding = None
        try:
            if self.pays and gateway.caps is not None and not await hold_embedding(gateway, gateway.caps, self._embeddings, x, look.text):
                return Found(reason="a budget has no room for the embedding")
            vector, embedding = await self._embeddings.of_question(look.text)
            found = await self._near(look, vector, x.may_use)
        except NoVector as problem:
            return Found(reason=str(problem), embedding=problem.embedding)
        except Exception as problem:  # whatever it is: the request goes on, and what its embedding cost is known
            self._faults.tell(f"on request {x.id}", problem)
            return Found(reason=f"it failed: {type(problem).__name__}", embedding=embedding)
        return msgspec.structs.replace(found, embedding=embedding)

    async def _near(self, look: Look, vector: Vectors, may_use: MayUse) -> Found:
        """What stands near a question, what is to be done with it, and the answer to serve."""
        look.vector, look.stamp = vector.astype("<f4", copy=False).tobytes(), self._embeddings.stamp
        near = self._entries.neighbours(look, vector.astype(np.float32, copy=False), look.stamp, may_use, time.time_ns(), time.monotonic())
        judged = self._scopes.decider(look.scope_key).decide(look.text, near, self._draw(), look.max_error)
        look.neighbours, look.judgement = near, judged
        if judged.verdict != "serve" or judged.entry is None or self.shadow:
            return Found(judged)
        kept = self._entries.get(judged.entry)
        if kept is None:
            return Found(judged, reason="its answer is gone")
        answer, reason = await self._answer(kept)
        return Found(judged, answer, reason)

    async def _answer(self, kept: Kept) -> tuple[CachedAnswer | None, str | None]:
        """The answer of an entry; None, and why, where it is not at hand. An entry without one is forgotten."""
        try:
            answer = await self._shelf.get(kept.id)
        except AnswerStoreError as problem:
            return None, f"the store did not answer: {problem}"[:200]
        if answer is None:
            self._replica.forget(kept.id)
            return None, "its answer is gone"
        return answer, None

    def _not_looked(self, reason: str, embedding: Embedding | None = None) -> CacheDecision:
        return CacheDecision(
            "unavailable", self._settings.mode, reason=reason, embedding_us=embedding.us if embedding is not None else None
        )

    def _is_own(self, gateway: Gateway) -> bool:
        model = self._embeddings.model
        return model is not None and gateway.targets.candidate(model).fleet is not None

    def _has_room(self) -> bool:
        return not self._full

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TALLY_S)
            self._tell_used()
            self._full = self._entries.size > ROOM * self._settings.max_bytes

    def _tell_used(self) -> None:
        used = self._scopes.tallied(self._name, time.time_ns())
        if used is not None and not self._following.queue(Piece((used,)), again=True):
            self._scopes.untold(used)
