"""The log of the semantic cache followed beside the workers: what it comes to, what is measured, what is tidied, what is kept for later."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.answers import open_answers
from penstock.config.caching import SemanticCache
from penstock.domain.dialects.tokens import NO_TOKENS
from penstock.domain.routing.similarity.evidence import Compared, Looked
from penstock.domain.routing.similarity.promise import Standing as PromiseStanding
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.keeping import removals
from penstock.finops.caching.learning import Learning
from penstock.finops.caching.standing import STATE, Standing
from penstock.finops.caching.tidying import OLD_S, Following, Tidying
from penstock.ports.answer_store import (
    JUDGES,
    AnswerStore,
    AnswerStoreError,
    Entry,
    Event,
    Evidence,
    Numbered,
    Removal,
    Told,
    Used,
    Vouched,
)
from penstock.ports.cache import CachedAnswer
from penstock.ports.usage_store import StoreError

NS = 10**9
HOUR = 3600 * NS
T0 = 1_790_000_000 * NS
SCOPE = ("tenant=acme",)


class MemoryAnswers:
    """`ports.answer_store.AnswerStore` in memory; `away` makes every call fail."""

    def __init__(self) -> None:
        self.log: list[Numbered] = []
        self.answers: dict[str, CachedAnswer] = {}
        self.states: dict[str, tuple[int, bytes]] = {}
        self.away = False
        self.reads = 0
        self._last = 0

    def append(self, events: Sequence[Event], answers: Sequence[tuple[str, CachedAnswer]] = ()) -> None:
        self._ask()
        for event in events:
            if isinstance(event, Entry):
                self.log = [each for each in self.log if not (isinstance(each.event, Entry) and each.event.id == event.id)]
            if isinstance(event, Removal):
                gone = set(event.entries)
                self.log = [each for each in self.log if not (isinstance(each.event, Entry) and each.event.id in gone)]
                for id in gone:
                    self.answers.pop(id, None)
            self._last += 3
            self.log.append(Numbered(self._last, event))
        self.answers.update(answers)

    def since(self, place: int, most: int = 1000) -> Sequence[Numbered]:
        self._ask()
        self.reads += 1
        return [each for each in self.log if each.place > place][:most]

    @property
    def unreadable(self) -> int:
        return 0

    def answer(self, entry: str) -> CachedAnswer | None:
        self._ask()
        return self.answers.get(entry)

    def keep_state(self, name: str, place: int, state: bytes) -> None:
        self._ask()
        if name not in self.states or self.states[name][0] <= place:
            self.states[name] = (place, state)

    def state(self, name: str) -> tuple[int, bytes] | None:
        self._ask()
        return self.states.get(name)

    def trim(self, place: int, before_ns: int) -> int:
        self._ask()
        left = [each for each in self.log if isinstance(each.event, Entry | Vouched) or each.place > place or each.event.at_ns >= before_ns]
        trimmed, self.log = len(self.log) - len(left), left
        return trimmed

    def size(self) -> tuple[int, int]:
        self._ask()
        entries = [each.event for each in self.log if isinstance(each.event, Entry)]
        return len(entries), sum(len(each.text) + each.answer_bytes for each in entries)

    def close(self) -> None:
        pass

    def _ask(self) -> None:
        if self.away:
            raise AnswerStoreError("the store is away", "start it")


def entry(id: str, **fields: Any) -> Entry:
    """An entry put at `T0` for a day."""
    given: dict[str, Any] = {
        "at_ns": T0, "expires_ns": T0 + 24 * HOUR, "partition": b"p" * 16, "scope": SCOPE, "wording": id.encode().ljust(16)[:16],
        "text": f"What is {id}?", "vector": b"\0" * 1536, "embedder": "minilm@1", "model": "small", "upstream": "gpu", "tier": "small",
        "user": "anna", "answer_bytes": 1000, "worth": 1000,
    }  # fmt: skip
    return Entry(id=id, **given | fields)


def answer(id: str, text: str = "An answer.") -> CachedAnswer:
    """A whole chat completion."""
    message = {"role": "assistant", "content": text}
    body = {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return CachedAnswer(
        request_id=id, model="small", upstream="gpu", tier="small", streamed=False, body=msgspec.json.encode(body), usage=None,
        tokens=NO_TOKENS, tokens_estimated=False,
    )  # fmt: skip


def evidence(id: str, agreed: float, propensity: float, chosen: str | None = "a", **fields: Any) -> Evidence:
    """Of a question that would have been served: a probe, or in shadow mode (propensity 1)."""
    given: dict[str, Any] = {"at_ns": T0, "partition": b"p" * 16, "scope": SCOPE, "risk": 0.01, "fits": True}
    compared = (Compared("b", 0.9, b"", 1 - agreed), Compared("a", 0.97, b"", agreed))
    return Evidence(id=id, compared=compared, chosen=chosen, propensity=propensity, **given | fields)


def log_of(store: AnswerStore, **options: Any) -> AnswerLog:
    said: list[str] = []
    return AnswerLog(lambda: store, said.append, **options)


class Heard:
    """A judge that writes down what it hears; its state is that list."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.alarm = False

    def learn(self, compared: Sequence[Compared], chosen: str | None, fits: bool, propensity: float) -> None:
        self.heard.append(["learn", chosen, propensity])

    def told(self, right: bool, risk: float | None) -> None:
        self.heard.append(["told", right, risk])

    def looked(self, counts: Looked) -> None:
        self.heard.append(["looked", counts.requests])

    def standing(self) -> PromiseStanding:
        return PromiseStanding(100, 20, 5, promised=0.005, expected=0.001, at_most=0.004, at_least=0.0, alarm=self.alarm, alarms=0)

    def state(self) -> bytes:
        return msgspec.msgpack.encode(self.heard)

    def restore(self, state: bytes) -> None:
        self.heard = msgspec.msgpack.decode(state)


def numbered(*events: Event) -> list[Numbered]:
    return [Numbered(place, event) for place, event in enumerate(events, 1)]


def test_the_log_comes_to_entries_and_figures_by_scope() -> None:
    standing = Standing(whole=True)
    standing.apply(numbered(
        entry("a", worth=7), entry("b", scope=("key=k1",)),
        Used(at_ns=T0 + 5, worker="w1", served={"a": 3, "gone": 9}, scopes={"tenant=acme": Looked(10, 2, 1, 3, 1, 0.25)}),
        Used(at_ns=T0 + 9, worker="w2", served={"a": 1}, scopes={"tenant=acme": Looked(5, 0, 0, 1, 0, 0.5)}),
        Told(id="r1", at_ns=T0, entry="a", right=False, source="feedback", scope=SCOPE),
        Told(id="r2", at_ns=T0, entry="gone", right=True, source="regenerate", scope=SCOPE),
        Vouched(at_ns=T0, entry="a", curated=True), Vouched(at_ns=T0, entry="a", curated=True),
    ))  # fmt: skip
    a, acme = standing.kept["a"], standing.scopes["tenant=acme"]
    assert (a.served, a.used_ns, a.curated, a.worth, a.scope) == (4, T0 + 9, True, 7, "tenant=acme")
    assert a.entry is not None and (a.entry.text, a.entry.vector) == ("What is a?", None)
    assert (acme.entries, acme.curated, acme.told_right, acme.told_wrong) == (1, 1, 1, 1)
    assert acme.looked == Looked(15, 2, 1, 4, 1, 0.75)
    assert standing.scopes["key=k1"].entries == 1
    assert standing.embedders == {"minilm@1": 2}

    standing.apply([Numbered(9, Removal(at_ns=T0, entries=("a", "never"), reason="purged"))])
    assert (acme.entries, acme.bytes, acme.curated, standing.removed) == (0, 0, 0, {"purged": 1})
    standing.apply([Numbered(9, entry("c"))])
    assert "c" not in standing.kept, "its place was read before"


def test_texts_are_kept_on_demand_only() -> None:
    standing = Standing()
    standing.apply(numbered(entry("a")))
    assert standing.kept["a"].entry is None


@given(st.lists(st.sampled_from(["put", "use", "drop", "pin"]), max_size=30))
def test_sums_by_scope_are_the_sums_over_entries(acts: list[str]) -> None:
    standing = Standing()
    for number, act in enumerate(acts, 1):
        id = f"e{number % 4}"
        events: dict[str, Event] = {
            "put": entry(id, text="x" * number),
            "use": Used(at_ns=T0, worker="w", served={id: 1}),
            "drop": Removal(at_ns=T0, entries=(id,), reason="evicted"),
            "pin": Vouched(at_ns=T0, entry=id, curated=number % 2 == 0),
        }
        standing.apply([Numbered(number, events[act])])
    scope = standing.in_scope("tenant=acme")
    kept = standing.kept.values()
    assert (scope.entries, scope.bytes) == (len(kept), sum(each.size for each in kept))
    assert scope.curated == sum(each.curated for each in kept)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> AnswerStore:
    return MemoryAnswers() if request.param == "memory" else open_answers("local://", tmp_path, lambda line: None)


def settings(**fields: Any) -> SemanticCache:
    return SemanticCache(enabled=True, **fields)


def test_a_state_that_cannot_be_read_is_left_and_said() -> None:
    store, said = MemoryAnswers(), list[str]()
    store.append([entry("a")])
    store.keep_state(STATE, 3, b"\xc1")
    store.keep_state(JUDGES, 3, b"\xc1")
    log = AnswerLog(lambda: store, said.append, learning=lambda: Learning(Heard))
    log.follow()
    assert set(log.standing.kept) == {"a"}
    assert [line.partition(":")[0] for line in said] == ["warning", "warning"]


def test_a_store_that_is_away_is_told_of_and_asked_again() -> None:
    store = MemoryAnswers()
    log = log_of(store)
    following = Following(log, lambda: None)
    store.append([entry("a")])
    assert following.step(T0) == 0
    store.away = True
    for chore in (following, Tidying(log, settings())):
        with pytest.raises(StoreError, match="away") as problem:
            chore.step(T0)
        assert problem.value.hint == "start it"
    store.away = False
    store.append([entry("b")])
    following.step(T0)
    assert set(log.standing.kept) == {"a", "b"}


def test_a_log_that_began_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, said = tmp_path / "journal" / "answers.db", list[str]()
    log = AnswerLog(lambda: open_answers("local://", path.parent, said.append), said.append)
    log.append([entry("a"), entry("b")], [("a", answer("a")), ("b", answer("b"))])
    log.follow()
    for file in path.parent.iterdir():
        file.unlink()
    log.append([entry("c")])
    log.follow()
    assert set(log.standing.kept) == {"c"}
    assert "begins anew" in said[0]


def test_a_judge_that_fails_keeps_nobody_from_following() -> None:
    class Fails(Heard):
        def looked(self, counts: Looked) -> None:
            raise ZeroDivisionError

    store, said = MemoryAnswers(), list[str]()
    log = AnswerLog(lambda: store, said.append, learning=lambda: Learning(Fails))
    log.append([Used(at_ns=T0, worker="w", scopes={"s": Looked(1)}), Used(at_ns=T0, worker="w", scopes={"s": Looked(1)}), entry("a")])
    Tidying(log, settings()).step(T0 + 9 * HOUR + int(OLD_S * NS))
    assert log.standing.scopes["s"].looked == Looked(2)
    assert len(said) == 1 and "ZeroDivisionError" in said[0]
    assert set(store.states) == {STATE}, "a judge that knows half is not kept"
    assert len(store.log) == 3, "and nothing that others could learn from is forgotten"


def test_judges_hear_of_what_was_told_of_an_entry_that_is_gone(store: AnswerStore) -> None:
    made: list[Heard] = []

    def judge() -> Heard:
        made.append(Heard())
        return made[-1]

    log = log_of(store, learning=lambda: Learning(judge))
    told = Told(id="r", at_ns=T0, entry="a", right=False, source="feedback", risk=0.25, scope=SCOPE)
    log.append([entry("a"), evidence("r", 1.0, 0.5)])
    log.follow()
    log.append([*removals(["a"], "wrong", T0), told, Told(id="q", at_ns=T0, entry="a", right=True, source="feedback")])
    log.follow()
    assert [each.heard for each in made] == [[["learn", "a", 0.5], ["told", False, 0.25]]]
