"""What a fresh answer teaches: whether the answers that were near say the same, and a new entry. Always after the client has its answer."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from penstock.domain.routing.similarity.answers import agreement, answer_text
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Compared
from penstock.gateway.semantic.embedding import Embeddings
from penstock.gateway.semantic.entries import Entries, Kept, MayUse
from penstock.gateway.semantic.look import NOBODY, Look
from penstock.gateway.semantic.shelf import Shelf
from penstock.ports.answer_store import AnswerStoreError, Entry, Event, Evidence, Removal
from penstock.ports.cache import CachedAnswer

NEAR: Final = 0.6
"""cosine of questions whose answers are worth comparing"""
ALIKE: Final = 0.8
"""cosine of questions that may be two wordings of one"""
AGREED: Final = 0.9
"""probability from which on two answers count as the same"""
COMPARED: Final = 5
LONGEST_ANSWER: Final = 1_000_000
_NS: Final = 10**9


class Lesson(msgspec.Struct, frozen=True):
    """A request that a model answered, as far as it is learned from."""

    look: Look
    endpoint: str
    answer: CachedAnswer
    text: str
    """of the answer"""
    tags: dict[str, str]
    worth: int | None
    may_use: MayUse
    may_embed: bool
    """whether rules let the embedder see it"""


class Learning:
    """Compares and keeps; `decider` is asked for the judge of a scope, `room` whether there is room for another entry; `failed` is told
    of faults that leave something to be kept all the same."""

    def __init__(
        self,
        entries: Entries,
        shelf: Shelf,
        embeddings: Embeddings,
        decider: Callable[[str], Decider],
        room: Callable[[], bool],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._entries, self._shelf, self._embeddings = entries, shelf, embeddings
        self._decider, self._room, self._failed = decider, room, failed

    async def events_of(self, lesson: Lesson, ready: bool) -> tuple[Event, ...]:
        """What the log is told of it: evidence, the new entry, and the entries that give way to it."""
        look = lesson.look
        await self._complete(lesson, ready)
        near = {
            at: each
            for at, each in enumerate(look.neighbours)
            if (at < COMPARED and each.similarity >= NEAR) or each.entry == look.chosen  # what is not compared is not measured
        }
        same = list(self._entries.same_words(look, time.time_ns(), time.monotonic()))
        agreed = await self._agreed(lesson, dict.fromkeys([*(each.entry for each in near.values()), *(each.id for each in same)]))
        features = look.judgement.features if look.judgement is not None else ()
        compared = tuple(
            Compared(each.entry, each.similarity, features[at], found)
            for at, each in near.items()
            if at < len(features) and (found := agreed.get(each.entry)) is not None
        )
        events: list[Event] = []
        now_ns = time.time_ns()
        if compared:
            events.append(_evidence(lesson, compared, now_ns))
        label = next((each.answer for each in near.values() if each.similarity >= ALIKE and agreed.get(each.entry, 0.0) >= AGREED), None)
        alike = next((each for each in same if agreed.get(each.id, 0.0) >= AGREED), None)
        events += self._entry(lesson, alike.label if alike is not None else label, same, alike, now_ns)
        return tuple(events)

    async def _complete(self, lesson: Lesson, ready: bool) -> None:
        """Looks where the request itself did not: there was no time, or it wanted a fresh answer."""
        look = lesson.look
        if look.vector is None and lesson.may_embed and self._embeddings.free:
            made = await self._embeddings.of_texts([look.text])
            if made is not None:
                look.vector, look.stamp = made[0].tobytes(), self._embeddings.stamp
        if look.vector is not None and look.stamp is not None and look.judgement is None and ready:
            vector = np.frombuffer(look.vector, dtype="<f4")
            now_ns, now_at = time.time_ns(), time.monotonic()
            try:
                near = self._entries.neighbours(look, vector, look.stamp, lesson.may_use, now_ns, now_at)
                look.judgement = self._decider(look.scope_key).decide(look.text, near, 0.0, look.max_error)
                look.neighbours = near
            except Exception as problem:  # whatever it is: what needs no judge is kept, such as the same words
                self._failed(f"to learn from request {lesson.answer.request_id}", problem)

    async def _agreed(self, lesson: Lesson, entries: dict[str, None]) -> dict[str, float]:
        """By entry, the probability that its answer says the same as the fresh one; entries of which nobody can tell are left out."""
        agreed: dict[str, float] = {}
        unclear: list[tuple[str, str]] = []
        for entry in entries:
            text = await self._text(lesson, entry)
            if text is None:
                continue
            found = agreement(lesson.text, text, None)
            if found is None:
                unclear.append((entry, text))
            else:
                agreed[entry] = found
        if not unclear or not lesson.may_embed or not self._embeddings.free:
            return agreed
        vectors = await self._embeddings.of_texts([lesson.text, *(text for _, text in unclear)])
        if vectors is None:
            return agreed
        for (entry, text), similarity in zip(unclear, vectors[1:] @ vectors[0], strict=True):
            if (found := agreement(lesson.text, text, float(similarity))) is not None:
                agreed[entry] = found
        return agreed

    async def _text(self, lesson: Lesson, entry: str) -> str | None:
        try:
            kept = await self._shelf.get(entry)
        except AnswerStoreError:
            return None  # requests tell of it: they meet the same store
        return None if kept is None else answer_text(lesson.endpoint, kept.streamed, kept.body)

    def _entry(self, lesson: Lesson, label: str | None, same: Sequence[Kept], alike: Kept | None, now_ns: int) -> list[Event]:
        """The new entry; none where the same answer to the same words is there already, or a person's."""
        look, answer = lesson.look, lesson.answer
        users = self._entries.users_of(label) if label is not None else ()
        if any(each.curated for each in same) or (alike is not None and look.user in users) or not self._room():
            return []
        gone = [each.id for each in same if each is alike or (each.users == (look.user,) and each is not alike)]
        if not gone and (crowded := self._entries.crowded(look.wording)) is not None:
            gone = [crowded]
        entry = Entry(
            id=answer.request_id,
            at_ns=now_ns,
            expires_ns=now_ns + int(look.ttl_s * _NS),
            partition=look.partition,
            scope=look.scope,
            wording=look.wording,
            text=look.text,
            vector=look.vector,
            embedder=look.stamp if look.vector is not None else None,
            model=answer.model,
            upstream=answer.upstream,
            tier=answer.tier,
            user=look.user or None,
            users=tuple(user for user in users if user != look.user),
            tags=lesson.tags,
            answer_bytes=len(answer.body) + len(answer.usage or b""),
            worth=lesson.worth,
            alike=label,
        )
        replaced = [Removal(at_ns=now_ns, entries=tuple(gone), reason="replaced")] if gone else []
        return [*replaced, entry]


def lesson_of(
    look: Look, endpoint: str, answer: CachedAnswer, tags: dict[str, str], worth: int | None, may_use: MayUse, may_embed: bool
) -> Lesson | None:
    """None: such an answer never stands for another one."""
    if len(answer.body) > LONGEST_ANSWER:
        return None
    text = answer_text(endpoint, answer.streamed, answer.body)
    return None if text is None else Lesson(look, endpoint, answer, text, tags, worth, may_use, may_embed)


def _evidence(lesson: Lesson, compared: tuple[Compared, ...], now_ns: int) -> Evidence:
    look = lesson.look
    return Evidence(
        id=lesson.answer.request_id,
        at_ns=now_ns,
        partition=look.partition,
        scope=look.scope,
        compared=compared,
        chosen=look.chosen,
        fits=look.fits,
        risk=look.judgement.risk if look.judgement is not None and look.chosen is not None else None,
        propensity=look.propensity,
        user=look.user if look.user != NOBODY else None,
        embedder=look.stamp,
    )
