"""How often the cache is wrong as probes show it, what goes first where there is no room, and what is kept for later readers."""

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Looked
from penstock.domain.routing.similarity.promise import wrong_at_most
from penstock.domain.units import Size
from penstock.finops.caching.keeping import going
from penstock.finops.caching.learning import Learning
from penstock.finops.caching.measuring import Probes, measured_error, probe_of
from penstock.finops.caching.standing import Kept
from penstock.finops.caching.tidying import KEEP_S, OLD_S, Following, Tidying
from penstock.finops.caching.truth import LogTruth, scope_truth
from penstock.ports.answer_store import AnswerStore, Numbered, Removal, Told, Used, Vouched
from tests.integration.test_caching_log import HOUR, NS, T0, Heard, MemoryAnswers, entry, evidence, log_of, settings
from tests.integration.test_caching_log import store as store  # a fixture


def test_a_probe_stands_for_what_was_served() -> None:
    told = probe_of(evidence("r", 0.0, 0.02))
    assert told is not None
    assert (told.count, round(told.weight, 9), round(told.wrong, 9)) == (1, 49, 49)
    shadow = probe_of(evidence("r", 0.25, 1.0))
    assert shadow == Probes(1, 1.0, 1.0, 0.75)
    assert probe_of(evidence("r", 0.0, 0.02, chosen=None)) is None
    assert probe_of(evidence("r", 0.0, 0.02, chosen="not compared")) is None
    assert probe_of(evidence("r", 0.0, 1.0, fits=False)) is None, "judged, and refused: no answer would have been served"


def test_the_measured_share_of_wrong_answers_has_an_interval() -> None:
    probes = Probes()
    assert measured_error(probes) is None
    for number in range(200):
        told = probe_of(evidence(f"r{number}", float(number % 50 != 0), 0.02))
        assert told is not None
        probes = probes.plus(told)
    measured = measured_error(probes)
    assert measured is not None
    assert measured.estimate == pytest.approx(4 / 200)
    assert 0.005 < measured.low < 4 / 200 < measured.high < 0.06
    assert measured.probes == 200


@pytest.mark.parametrize("seed", range(5))
def test_the_measure_is_unbiased_where_risky_ones_are_probed_more_often(seed: int) -> None:
    """Two kinds of questions with chances of their own: what is served is wrong as often as the probes say."""
    rng = random.Random(seed)
    served = wrong = 0
    probes = Probes()
    for number in range(60_000):
        share, propensity = rng.choice(((0.002, 0.01), (0.08, 0.2)))
        is_wrong = rng.random() < share
        if rng.random() < propensity:
            told = probe_of(evidence(f"r{number}", float(not is_wrong), propensity))
            assert told is not None
            probes = probes.plus(told)
        else:
            served, wrong = served + 1, wrong + is_wrong
    measured = measured_error(probes)
    assert measured is not None
    assert measured.low <= wrong / served <= measured.high


def test_what_promises_least_saving_goes_first() -> None:
    def kept(id: str, **fields: Any) -> Kept:
        given: dict[str, Any] = {
            "at_ns": T0, "expires_ns": T0 + 24 * HOUR, "scope": "s", "size": 1000, "worth": 100, "curated": False, "used_ns": T0,
        }  # fmt: skip
        return Kept(id=id, **given | fields)

    best, dear, idle = kept("best", served=9), kept("dear", worth=400), kept("idle", served=9, used_ns=T0 - 60 * HOUR)
    large, pinned, unknown = kept("large", size=4000), kept("pinned", curated=True, worth=1), kept("unknown", worth=None)
    every = [best, pinned, dear, unknown, idle, large]
    order = [each.id for each in going(every, 10**9, T0, 24 * 3600)]
    assert order == ["idle", "large", "unknown", "dear", "best", "pinned"]
    assert [each.id for each in going(every, 1001, T0, 24 * 3600)] == ["idle", "large"]
    assert going(every, 0, T0, 24 * 3600) == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(100, 9000), st.booleans()), max_size=40), st.integers(0, 100_000))
def test_enough_goes_and_no_more_than_needed(given_entries: list[tuple[int, int, bool]], excess: int) -> None:
    every = [
        Kept(id=str(n), at_ns=T0, expires_ns=T0, scope="s", size=size, worth=5, curated=curated, served=served, used_ns=T0)
        for n, (served, size, curated) in enumerate(given_entries)
    ]
    gone = going(every, excess, T0, 3600)
    freed = sum(each.size for each in gone)
    assert freed >= min(excess, sum(each.size for each in every))
    assert not gone or freed - gone[-1].size < excess
    assert all(before.curated <= after.curated for before, after in pairwise(gone))


def test_what_is_over_goes_but_not_what_a_person_vouches_for(store: AnswerStore) -> None:
    log = log_of(store)
    log.append([entry("old"), entry("pinned"), entry("new", expires_ns=T0 + 90 * HOUR), Vouched(at_ns=T0, entry="pinned", curated=True)])
    assert Tidying(log, settings()).step(T0 + 25 * HOUR) == 1
    assert set(log.standing.kept) == {"pinned", "new"}
    assert log.standing.removed == {"expired": 1}
    assert Tidying(log, settings()).step(T0 + 26 * HOUR) == 0


def test_room_is_made_by_taking_out_what_saves_least(store: AnswerStore) -> None:
    log = log_of(store)
    log.append([entry(f"e{number}", worth=number) for number in range(100)])
    size = len("What is e1?") + 1536 + 1000 + 400
    tidying = Tidying(log, settings(max_bytes=Size(50 * size)))
    assert tidying.step(T0) >= 50
    left = {int(id[1:]) for id in log.standing.kept}
    assert len(left) in (44, 45) and min(left) == 100 - len(left), "a tenth of the room is left for what comes next"
    assert tidying.step(T0) == 0


def test_a_later_reader_of_a_trimmed_log_knows_the_same(store: AnswerStore) -> None:
    first = log_of(store, learning=lambda: Learning(Heard))
    later = T0 + int((OLD_S + KEEP_S) * NS)
    first.append([
        entry("a", expires_ns=later + 9 * HOUR), entry("b", expires_ns=later + 9 * HOUR),
        Used(at_ns=T0, worker="w", served={"a": 2}, scopes={"tenant=acme": Looked(8, 1, 1, 2)}), evidence("r", 0.5, 1.0),
        Told(id="r", at_ns=T0, entry="a", right=True, source="feedback", risk=0.5), Vouched(at_ns=T0, entry="b", curated=True),
        Removal(at_ns=T0, entries=("x",), reason="wrong"),
    ])  # fmt: skip
    Tidying(first, settings()).step(later)
    assert len(store.since(0)) == 3, "the entries are left, and what was vouched for"
    first.append([Used(at_ns=later, worker="w", served={"a": 1})])
    first.follow()

    second = log_of(store, learning=lambda: Learning(Heard))
    second.follow()
    assert second.standing.state() == first.standing.state()
    assert second.standing.kept["a"].served == 3 and second.standing.kept["b"].curated
    assert second.standing.scopes["tenant=acme"].looked == Looked(8, 1, 1, 2)
    assert second.learning is not None and first.learning is not None
    assert second.learning.state() == first.learning.state()
    assert msgspec.msgpack.decode(second.learning.state(), type=dict[str, bytes]).keys() == {"tenant=acme"}


def test_judges_that_were_not_heard_of_for_longest_are_dropped() -> None:
    learning = Learning(Heard, most=2)
    for place, scope in enumerate(("a", "b", "a", "c"), 1):
        learning.hear(Numbered(place, Used(at_ns=T0, worker="w", scopes={scope: Looked(place)})))
    assert [learning.standing(scope) is not None for scope in ("a", "b", "c")] == [True, False, True]
    kept = msgspec.msgpack.decode(learning.state(), type=dict[str, bytes])
    assert list(kept) == ["a", "c"], "those heard of longest ago first"
    again = Learning(Heard, most=1)
    again.restore(4, learning.state())
    assert [again.standing(scope) is not None for scope in ("a", "c")] == [False, True]


@pytest.mark.parametrize(
    ("mode", "rings", "decides"), [("learned", True, "zero-trust"), ("learned", False, "learned"), ("zero-trust", True, "zero-trust")]
)
def test_what_is_known_of_wrong_answers_by_scope(mode: Any, rings: bool, decides: str) -> None:
    """Whether the alarm rings is what the judges of the workers say, however many probes were wrong."""

    def judge() -> Heard:
        heard = Heard()
        heard.alarm = rings
        return heard

    log = log_of(MemoryAnswers(), learning=lambda: Learning(judge))
    truth = LogTruth(log, settings(mode=mode))
    assert truth.scopes() == ()
    log.append([evidence(f"r{number}", float(number >= 30), 0.02) for number in range(60)])
    log.append([Used(at_ns=T0, worker="w", scopes={"tenant=acme": Looked(1000, 0, 0, 600)})])
    Following(log, truth.refresh).step(T0)
    (scope,) = truth.scopes()
    assert (scope.scope, scope.requests, scope.served, scope.compared) == ("tenant=acme", 1000, 600, 60)
    assert scope.estimate == pytest.approx(30 / 60)
    assert (scope.expected, scope.at_most) == (0.001, 0.004)
    assert (scope.alarm, scope.mode) == (rings and mode == "learned", decides)
    assert scope.promised == (None if mode == "zero-trust" else 0.005)


def test_what_is_expected_is_what_the_judge_of_the_workers_would_say() -> None:
    store = MemoryAnswers()
    store.append([Used(at_ns=T0, worker="w", scopes={"a": Looked(5000, 0, 0, 900, 0, 4.0), "b": Looked(5000, 0, 0, 1, 9, 0.001)})])
    log = log_of(store, learning=lambda: Learning(lambda: Decider("learned", 0.005, 0.95, 0.02)))
    truth = LogTruth(log, settings(mode="learned"))
    Following(log, truth.refresh).step(T0)
    a, b = truth.scopes()
    assert a.expected == 4.0 / 5000
    assert a.at_most == pytest.approx(wrong_at_most(4.0) / 5000)
    assert b.at_most == 1 / 5000, "no more are wrong than were served"
    watched = [scope_truth(name, scope, kept, settings(mode="shadow")) for name, scope, kept in log.scopes()]
    assert [(each.served, each.at_most) for each in watched] == [(900, a.at_most), (1, b.at_most)], "what would be served counts the same"
    assert scope_truth("a", log.standing.scopes["a"], None, settings(mode="learned")).expected is None, "nobody judges here"


def test_gauges_tell_what_is_kept() -> None:
    log = log_of(MemoryAnswers())
    following = Following(log, lambda: None)
    assert following.gauges() == {}
    log.append([entry("a")])
    following.step(T0)
    assert following.gauges() == {
        "penstock_semantic_cache_entries": ((("tenant=acme",), 1.0),),
        "penstock_semantic_cache_bytes": [((), float(len("What is a?") + 1000))],
        "penstock_semantic_cache_removed_total": (),
    }
    log.append([Removal(at_ns=T0, entries=("a",), reason="purged")])
    following.step(T0)
    assert following.gauges()["penstock_semantic_cache_removed_total"] == ((("purged",), 1.0),)
