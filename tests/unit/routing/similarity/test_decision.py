"""Serve, probe or refuse: what is decided, what is learned from it, and that replicas agree."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.semcache import Cache
from penstock.domain.routing.similarity.decision import Decider, unpacked
from penstock.domain.routing.similarity.evidence import Compared, Judgement, Looked, Mode, Neighbour
from penstock.domain.routing.similarity.judge import WIDTH
from penstock.domain.routing.similarity.promise import wrong_at_most
from tests.unit.routing.similarity.priors import prior
from tests.unit.routing.similarity.questions import bag, stream

ASKED = "how do I close my savings account"
PARAPHRASE = "please, how do I just close my savings accounts"
FAR = "what is the weather like in Rome"


def decider(mode: Mode = "learned", max_error: float = 0.01, requests: int = 100_000, same: float = 5.0) -> Decider:
    """One that thinks questions of the same words safe, and has a budget."""
    made = Decider(mode, max_error, 0.95, 0.02, prior(same=same, other=-3.0, spread=0.05))
    made.looked(Looked(requests=requests))
    return made


def near(text: str = PARAPHRASE, similarity: float = 0.97, answer: str = "a", servable: bool = True, entry: str = "e") -> Neighbour:
    return Neighbour(entry, text, similarity, answer, servable)


def asked(of: Decider, *neighbours: Neighbour, draw: float = 0.999, text: str = ASKED, max_error: float | None = None) -> Judgement:
    return of.decide(text, neighbours, draw, max_error)


def taught(of: Decider, judged: Judgement, neighbours: Sequence[Neighbour], agreed: float, times: int = 1, propensity: float = 1.0) -> None:
    compared = [Compared(each.entry, each.similarity, found, agreed) for each, found in zip(neighbours, judged.features, strict=True)]
    for _ in range(times):
        of.learn(compared, judged.entry, propensity < 1, propensity)


# --- zero-trust


def test_zero_trust_serves_what_is_near_and_differs_in_nothing() -> None:
    found = asked(decider("zero-trust"), near())
    assert (found.verdict, found.mode, found.entry, found.similarity, found.guards) == ("serve", "zero-trust", "e", 0.97, ())
    assert found.threshold == 0.95


@pytest.mark.parametrize(
    "neighbour",
    [
        near(similarity=0.9499),
        near("how do I close my savings accounts with 2 people"),
        near("how do I not close my savings account"),
        near("how do I close my current account"),
        near("who can close my savings account"),
        near("how do I open my savings account"),
        near("how do I account my savings close"),
        near("how should I close my savings account"),
        near("how do I close your savings account"),
        near("how do I account my savings close in Rome"),
        near(servable=False),
    ],
)
def test_zero_trust_serves_nothing_else(neighbour: Neighbour) -> None:
    found = asked(decider("zero-trust"), neighbour)
    assert found.verdict in ("refuse", "nothing")
    assert found.propensity == 0


def test_zero_trust_tells_which_guard_spoke_against() -> None:
    found = asked(decider("zero-trust"), near("how do I not close my 2 savings accounts"))
    assert (found.verdict, found.guards) == ("refuse", ("numbers", "negation", "words"))


def test_zero_trust_takes_the_nearest_that_it_trusts() -> None:
    around = [near("how do I close my 2 savings accounts", 0.99, "b", entry="trap"), near(), near(similarity=0.96, entry="later")]
    assert asked(decider("zero-trust"), *around).entry == "e"


def test_zero_trust_learns_but_does_not_serve_by_it() -> None:
    of, around = decider("zero-trust"), [near()]
    taught(of, asked(of, *around), around, 0.0, times=200)
    found = asked(of, *around)
    assert found.verdict == "serve"
    assert found.risk is not None
    assert found.risk > 0.5


# --- learned


def test_without_neighbours_there_is_nothing() -> None:
    assert asked(decider()) == Judgement("nothing", "learned")


def test_learned_serves_what_is_not_risky() -> None:
    found = asked(decider(), near(similarity=0.8))
    assert found.verdict == "serve"
    assert found.risk is not None
    assert found.threshold is not None
    assert found.risk <= found.threshold


def test_learned_refuses_what_is_risky() -> None:
    found = asked(decider(), near(FAR, 0.99))
    assert (found.verdict, found.propensity, found.entry) == ("refuse", 0, "e")


def test_nothing_is_served_before_requests_have_made_a_budget() -> None:
    assert asked(decider(requests=100, same=8.0), near()).verdict == "refuse"
    assert asked(decider(requests=2000, same=8.0), near()).verdict == "serve"


def test_what_was_just_served_is_not_spent_again() -> None:
    """The log tells of it only later."""
    of = decider(requests=1000, same=7.0)
    verdicts = [asked(of, near()) for _ in range(3000)]
    served = sum(each.risk or 0.0 for each in verdicts if each.verdict == "serve")
    assert served > 0
    assert wrong_at_most(served) <= 0.01 * 1000 + 1e-6
    assert verdicts[-1].verdict == "refuse"
    of.looked(Looked(requests=100_000, semantic=5, risk=served))
    assert asked(of, near()).verdict == "serve"


def test_evidence_lets_it_serve_more() -> None:
    of, around = decider(same=-1.0), [near()]
    before = asked(of, *around)
    assert before.verdict == "refuse"
    for _ in range(300):
        taught(of, asked(of, *around), around, 1.0)
    after = asked(of, *around)
    assert after.verdict == "serve"
    assert (after.risk or 0) < (before.risk or 0) / 10


def test_evidence_lets_it_serve_less() -> None:
    of, around = decider(), [near()]
    assert asked(of, *around).verdict == "serve"
    taught(of, asked(of, *around), around, 0.0, times=30)
    assert asked(of, *around).verdict == "refuse"


def test_the_best_is_not_always_the_nearest() -> None:
    assert asked(decider(), near(FAR, 0.99, "b", entry="nearest"), near()).entry == "e"


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.sampled_from(["zero-trust", "learned", "shadow"]), st.floats(0, 0.999))
def test_what_may_not_be_served_is_never_chosen(servable: list[bool], mode: Mode, draw: float) -> None:
    around = [near(similarity=0.99 - at / 100, servable=each, entry=str(at)) for at, each in enumerate(servable)]
    found = asked(decider(mode), *around, draw=draw)
    assert len(found.features) == len(around)
    if any(servable):
        assert found.entry is not None
        assert servable[int(found.entry)]
    else:
        assert (found.verdict, found.entry, found.propensity) == ("nothing", None, 0)


@pytest.mark.parametrize("mode", ["zero-trust", "learned", "shadow"])
def test_the_coin_decides_what_is_probed(mode: Mode) -> None:
    of = decider(mode)
    serving = asked(of, near()).propensity
    assert 0.7 <= serving < 1
    chance = 1 - serving
    assert asked(of, near(), draw=0.0).verdict == asked(of, near(), draw=chance - 1e-9).verdict == "probe"
    assert asked(of, near(), draw=chance).verdict == asked(of, near()).verdict == "serve"
    assert asked(of, near(), draw=0.0).propensity == serving


def test_what_is_told_of_a_coin_is_how_it_falls() -> None:
    of, random = decider(), Random(4)
    told = asked(of, near()).propensity
    falls = Counter(asked(of, near(), draw=random.random()).verdict for _ in range(3000))
    assert falls["serve"] / 3000 == pytest.approx(told, abs=0.03)
    assert set(falls) == {"serve", "probe"}


@pytest.mark.parametrize("mode", ["zero-trust", "learned", "shadow"])
@pytest.mark.parametrize(("max_error", "own"), [(0.0, None), (0.0, 0.1), (0.01, 0.0)])
def test_who_accepts_no_errors_gets_nothing_by_meaning(mode: Mode, max_error: float, own: float | None) -> None:
    of = decider(mode, max_error, same=8.0)
    assert asked(of, near(similarity=1.0), draw=0.5, max_error=own).verdict == "refuse"


@given(st.floats(0, 1), st.floats(0.5, 8.0))
def test_a_request_only_tightens(own: float, same: float) -> None:
    free, bound = decider(same=same), decider(same=same)
    without, found = asked(free, near()), asked(bound, near(), max_error=own)
    assert found.risk == without.risk
    assert (found.threshold or 0) <= (without.threshold or 0)
    assert found.verdict == without.verdict or (found.verdict == "refuse" and own < 0.01)


def test_in_alarm_learned_is_zero_trust() -> None:
    of, around = decider(requests=3000, same=7.0), [near(similarity=0.9)]
    found = asked(of, *around)
    assert (found.verdict, found.mode) == ("serve", "learned")
    taught(of, found, around, 0.0, times=6, propensity=0.01)
    assert of.standing().alarm
    assert (asked(of, *around).verdict, asked(of, *around).mode) == ("refuse", "zero-trust")
    assert asked(of, near(similarity=0.96)).verdict == "serve"


# --- what is learned


def test_features_of_another_version_are_refused_and_nothing_is_learned() -> None:
    of = decider()
    judged, before = asked(of, near()), of.state()
    features = judged.features[0]
    for foreign in (b"", features[:-4], features + b"x", features[:3], b"\0\0\0\0" + features[4:], features[4:] + b"\0\0\0\0"):
        with pytest.raises(ValueError, match="of another version"):
            of.learn([Compared("e", 0.97, features, 0.0), Compared("f", 0.9, foreign, 0.0)], "e", True, 0.1)
    assert of.state() == before


def test_features_say_what_was_seen() -> None:
    judged = asked(decider(), near("how do I close my current account", answer="b"))
    _, row, words = unpacked(judged.features[0])
    assert row.shape == (WIDTH,)
    assert len(words) == 2


def test_the_outcome_is_not_known_to_the_risk_that_it_judges() -> None:
    """The entry that would have been served is judged before anything is learned of the others."""
    around = [near(entry="first", answer="b"), near(similarity=0.96)]
    alone, together = decider(), decider()
    found = asked(alone, *around).features
    alone.learn([Compared("e", 0.96, found[1], 0.0)], "e", True, 0.5)
    together.learn([Compared("first", 0.97, found[0], 0.0), Compared("e", 0.96, found[1], 0.0)], "e", True, 0.5)
    figures = [msgspec.msgpack.decode(of.state())["figures"] for of in (alone, together)]
    assert figures[0] == figures[1]


def test_only_the_nearest_and_the_chosen_teach_the_judge() -> None:
    around = [near(entry=str(at), similarity=0.97 - at / 100) for at in range(5)]
    few, all_of_them = decider(), decider()
    found = asked(few, *around).features
    compared = [Compared(str(at), 0.9, found[at], 1.0) for at in range(5)]
    few.learn(compared[:3], "0", False, 1.0)
    all_of_them.learn(compared, "0", False, 1.0)
    assert few.state() == all_of_them.state()
    all_of_them.learn(compared, "4", False, 1.0)
    few.learn(compared[:3], "4", False, 1.0)
    assert few.state() != all_of_them.state()


def test_praise_changes_nothing_and_blame_makes_it_riskier() -> None:
    of = decider()
    risk, before = asked(of, near()).risk, of.state()
    of.told(True, risk)
    of.told(False, None)
    assert of.state() == before
    of.told(False, risk)
    assert (asked(of, near()).risk or 0) > (risk or 1)


# --- replicas


def lessons(of: Decider, other: Decider, steps: int, seed: int) -> list[tuple[Judgement, Judgement]]:
    """The same for both; what they decided."""
    random, found = Random(seed), []
    for _ in range(steps):
        around = [
            near(random.choice([PARAPHRASE, FAR, ASKED + " 2"]), random.uniform(0.6, 1), random.choice("ab"), entry=str(at))
            for at in range(3)
        ]
        around.sort(key=lambda each: -each.similarity)
        draw, agreed, propensity = random.random(), float(random.random() < 0.7), random.choice([0.05, 1.0])
        praised = random.random() < 0.7
        judged = asked(of, *around, draw=draw), asked(other, *around, draw=draw)
        for each, one in zip((of, other), judged, strict=True):
            taught(each, one, around, agreed, propensity=propensity)
            each.looked(Looked(requests=10, semantic=1, risk=0.01))
            each.told(praised, 0.01)
        found.append(judged)
    return found


def test_the_same_calls_leave_the_same_state() -> None:
    one, other = decider(), decider()
    assert all(judged[0] == judged[1] for judged in lessons(one, other, 150, 1))
    assert one.state() == other.state() != decider().state()


def test_what_one_worker_decides_does_not_change_what_all_learn() -> None:
    """Only the log does, that all of them read; requests are shared among them."""
    busy, idle = decider(), decider()
    random = Random(9)
    for _ in range(200):
        around = [near(random.choice([PARAPHRASE, FAR]), random.uniform(0.6, 1))]
        judged = asked(busy, *around, draw=random.random())
        agreed, propensity = float(random.random() < 0.5), random.choice([0.02, 1.0])
        for of in (busy, idle):
            taught(of, judged, around, agreed, propensity=propensity)
            of.looked(Looked(requests=20))
    assert busy.standing().alarms > 0
    assert busy.state() == idle.state()


@pytest.mark.parametrize("mode", ["zero-trust", "learned"])
def test_who_goes_on_from_a_state_decides_the_same(mode: Mode) -> None:
    known, heir = decider(mode), Decider(mode, 0.01, 0.95, 0.02, prior(same=5.0, other=-3.0, spread=0.05))
    lessons(known, decider(mode), 200, 2)
    state = known.state()
    heir.restore(state)
    assert heir.state() == state
    assert heir.standing() == known.standing()
    for neighbour in (near(), near(FAR, 0.7), near("how do I not close my savings account", 0.99)):
        mine, theirs = asked(heir, neighbour), asked(known, neighbour)
        assert (mine.risk, mine.entry, mine.guards, mine.features) == (theirs.risk, theirs.entry, theirs.guards, theirs.features)
        assert mine.verdict == theirs.verdict


def test_a_state_of_another_version_is_refused_and_nothing_is_changed() -> None:
    of = decider()
    lessons(of, decider(), 5, 3)
    before = of.state()
    whole = msgspec.msgpack.decode(before)
    for change in (
        {"version": 1},
        {"figures": whole["figures"] | {"wrong": [0.0]}},
        {"learned": whole["learned"] | {"weights": [0.0]}},
        {"learned": "nothing"},
    ):
        with pytest.raises(ValueError, match="what was learned"):
            of.restore(msgspec.msgpack.encode(whole | change))
    for broken in (b"", before[:-9], b"\xff"):
        with pytest.raises(ValueError, match="cannot be read"):
            of.restore(broken)
    assert of.state() == before


# --- a stream, end to end


def played(mode: Mode, max_error: float, requests: int, seed: int) -> Counter[str]:
    cache, counts, labels = Cache(max_error, mode, seed), Counter[str](), list[str]()
    for at, (prompt, label) in enumerate(stream(requests, seed)):
        labels.append(label)
        outcome = cache.ask(prompt, bag(prompt))
        if outcome.serve is None or outcome.probe:
            cache.learn(str(at), label)
            continue
        counts[outcome.layer] += 1
        counts["wrong"] += labels[int(outcome.serve)] != label
    return counts


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_on_a_stream_of_questions_the_promise_is_kept_and_much_is_served(seed: int) -> None:
    learned, trusting = played("learned", 0.02, 2000, seed), played("zero-trust", 0.02, 2000, seed)
    assert learned["wrong"] <= 0.02 * 2000
    assert trusting["wrong"] == 0
    assert learned["semantic"] > trusting["semantic"] + 100
