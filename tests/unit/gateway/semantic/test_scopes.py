"""The judges of a worker: how many there are, what was said here, and what could not be said."""

from typing import Any

import msgspec
import pytest

from penstock.config.caching import SemanticCache
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Looked
from penstock.gateway.semantic.scopes import Scopes
from penstock.ports.answer_store import Used


def used(scope: str, requests: int, worker: str = "w", at_ns: int = 1) -> Used:
    return Used(at_ns=at_ns, worker=worker, scopes={scope: Looked(requests)})


def requests(scopes: Scopes, scope: str) -> int:
    return scopes.decider(scope).standing().requests


def test_judges_that_were_not_asked_for_longest_are_put_away_and_then_forgotten() -> None:
    scopes = Scopes(SemanticCache(), most=2)
    for count, name in enumerate("abc", 1):
        scopes.used(used(name, count))
    assert list(scopes._deciders) == ["b", "c"] and list(scopes._states) == ["a"]
    assert requests(scopes, "a") == 1, "it goes on from what it had learned"
    assert list(scopes._deciders) == ["c", "a"] and list(scopes._states) == ["b"]
    for count, name in enumerate("de", 4):
        scopes.used(used(name, count))
    assert list(scopes._deciders) == ["d", "e"] and list(scopes._states) == ["c", "a"], "there are no more states than judges"
    assert [requests(scopes, name) for name in "ab"] == [1, 0], "what is forgotten begins with nothing"


def test_states_are_read_when_they_are_asked_for() -> None:
    known = Scopes(SemanticCache())
    for count, name in enumerate("abc", 1):
        known.used(used(name, count))
    states = {name: known.decider(name).state() for name in "abc"}
    scopes = Scopes(SemanticCache(), most=2)
    scopes.restore(7, msgspec.msgpack.encode(states))
    assert not scopes.is_news(7) and scopes.is_news(8) and not scopes._deciders
    assert [requests(scopes, name) for name in "abc"] == [0, 2, 3], "those heard of longest ago are left out"
    scopes.restore(9, msgspec.msgpack.encode({**states, "b": b"bad"}))
    scopes.clear()
    assert scopes.is_news(1) and requests(scopes, "c") == 0


@pytest.mark.parametrize("state", [b"\xc1", msgspec.msgpack.encode({"a": b"bad"})])
def test_a_state_that_cannot_be_read_is_learned_anew(state: bytes) -> None:
    scopes = Scopes(SemanticCache())
    scopes.restore(7, state)
    assert scopes.is_news(1) and requests(scopes, "a") == 0


def test_one_bad_state_among_good_ones_costs_that_scope_only() -> None:
    good, scopes = Scopes(SemanticCache()), Scopes(SemanticCache())
    good.used(used("b", 5))
    scopes.restore(7, msgspec.msgpack.encode({"a": b"bad", "b": good.decider("b").state()}))
    assert (requests(scopes, "a"), requests(scopes, "b"), scopes.is_news(7)) == (0, 5, False)


def test_only_what_was_said_here_was_served_here(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []

    def looked(self: Decider, counts: Looked, *, own: bool = True) -> None:
        heard.append(own)

    monkeypatch.setattr(Decider, "looked", looked)
    scopes = Scopes(SemanticCache())
    scopes.tally("a", requests=1)
    said: Any = scopes.tallied("w", 5)
    for event in (used("a", 1, at_ns=4), used("a", 1, "other", 5), said, said):
        scopes.used(event)
    assert heard == [False, False, True, False], "the worker of that name before a restart was another one, and nothing is read twice"


def test_what_could_not_be_told_is_counted_again() -> None:
    scopes = Scopes(SemanticCache())
    scopes.tally("a", requests=2, exact=1, semantic=1, risk=0.25)
    scopes.served("e")
    refused = scopes.tallied("w", 1)
    assert refused is not None and scopes.tallied("w", 2) is None
    scopes.tally("a", requests=1, probes=1)
    scopes.served("e")
    scopes.untold(refused)
    told = scopes.tallied("w", 3)
    assert told is not None
    assert (told.served, told.scopes) == ({"e": 2}, {"a": Looked(3, 1, 0, 1, 1, 0.25)})
