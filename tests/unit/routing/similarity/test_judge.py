"""The pooled model: what it begins with, what it learns, and that nothing breaks it."""

from math import log
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.similarity.evidence import Neighbour
from penstock.domain.routing.similarity.features import NAMES, hashed, pairs
from penstock.domain.routing.similarity.judge import EXTRA, WIDTH, Forest, Judge, Learned, Row, Trees, shipped
from tests.unit.routing.similarity.priors import prior

ASKED = "how do I close my savings account"
SAME, OTHER = "how can I close a savings account", "how do I open a deposit box in Rome"
NEAR = {SAME: 0.93, OTHER: 0.6}


def rows(judge: Judge, *others: str, asked: str = ASKED) -> Row:
    """One for each other question, each an only neighbour."""
    return np.concatenate([judge.rows(pairs(asked, [Neighbour("e", other, NEAR.get(other, 0.9), "a")])) for other in others])


def odds(judge: Judge, other: str) -> float:
    return float(judge.odds(rows(judge, other))[0])


def spread_of(judge: Judge) -> Row:
    return np.array(judge.learned().spread)


# --- what it begins with


def test_the_shipped_prior_fits() -> None:
    found = shipped()
    assert found.names == NAMES
    assert len(found.weights) == len(found.spread) == WIDTH
    assert min(found.spread) > 0
    assert max(found.trees.feature) < len(NAMES)
    assert odds(Judge(found), SAME) > 0 > odds(Judge(found), OTHER)


def test_the_shipped_prior_knows_of_guards() -> None:
    judge = Judge(shipped())
    same, another, turned = (
        judge.odds(judge.rows(pairs(asked, [Neighbour("e", "flights from London to Paris on 3 May", 0.97, "a")])))[0]
        for asked in (
            "a flight from London to Paris on 3 May",
            "flights from London to Paris on 4 May",
            "flights from Paris to London on 3 May",
        )
    )
    assert same > 1
    assert another < same - 2
    assert turned < same - 2


@pytest.mark.parametrize("change", [{"names": NAMES[:-1]}, {"names": (*NAMES[1:], NAMES[0])}, {"weights": (0.0,) * (WIDTH - 1)}])
def test_a_prior_of_other_features_is_refused(change: dict[str, tuple[str | float, ...]]) -> None:
    with pytest.raises(ValueError, match="other features: fit it anew"):
        Judge(msgspec.structs.replace(prior(), **change))


def walked(trees: Trees, row: list[float]) -> float:
    """The trees, node by node, to their leaves."""
    total = trees.base
    for root in trees.roots:
        at = root
        while trees.left[at] != at:
            at = trees.left[at] if row[trees.feature[at]] <= trees.cut[at] else trees.right[at]
        total += trees.value[at]
    return total


def test_trees_are_walked_to_their_leaves() -> None:
    trees = shipped().trees
    random = Random(3)
    table = [[random.choice([0.0, 1.0, random.uniform(-5, 3)]) for _ in NAMES] for _ in range(200)]
    table += [[trees.cut[at]] * len(NAMES) for at in range(0, len(trees.cut), 97)]
    assert Forest(trees)(np.array(table)) == pytest.approx([walked(trees, row) for row in table])


def test_a_value_on_the_cut_goes_left() -> None:
    trees = prior(same=2.0, other=-2.0).trees
    at_cut = [0.5] * len(NAMES)
    assert Forest(trees)(np.array([at_cut, [0.51] * len(NAMES)])) == pytest.approx([-2.0, 2.0])


def test_trees_alone_do_not_make_anything_certain() -> None:
    judge = Judge(prior(same=50.0))
    assert rows(judge, SAME)[0, EXTRA.index("trees")] == 8


# --- what it learns


def test_what_agrees_becomes_more_probable_and_what_does_not_less() -> None:
    judge = Judge(prior())
    before = odds(judge, SAME)
    judge.learn(rows(judge, SAME)[0], 1.0, 1.0)
    after = odds(judge, SAME)
    assert after > before
    judge.learn(rows(judge, SAME)[0], 0.0, 1.0)
    assert odds(judge, SAME) < after


def test_a_heavier_observation_teaches_more_up_to_a_bound() -> None:
    found = []
    for weight in (1.0, 3.0, 10.0, 1e9):
        judge = Judge(prior())
        judge.learn(rows(judge, SAME)[0], 0.0, weight)
        found.append(odds(judge, SAME))
    assert found[0] > found[1] > found[2] == found[3]


def test_half_agreement_teaches_between() -> None:
    found = []
    for agreed in (0.0, 0.5, 1.0):
        judge = Judge(prior())
        judge.learn(rows(judge, SAME)[0], agreed, 1.0)
        found.append(odds(judge, SAME))
    assert found == sorted(set(found))


@pytest.mark.parametrize(("other", "agreed"), [(SAME, 0.0), (OTHER, 1.0)])
def test_experience_overturns_the_prior(other: str, agreed: float) -> None:
    judge = Judge(shipped())
    sign = 1 if agreed else -1
    assert odds(judge, other) * sign < 0
    for _ in range(300):
        judge.learn(rows(judge, other)[0], agreed, 1.0)
    assert odds(judge, other) * sign > 1


def test_what_was_learned_of_one_pair_is_known_of_others() -> None:
    judge = Judge(prior())
    before = float(judge.odds(rows(judge, "how may I lock the garden door", asked="how do I lock the garden door"))[0])
    for _ in range(50):
        judge.learn(rows(judge, SAME)[0], 0.0, 1.0)
    assert float(judge.odds(rows(judge, "how may I lock the garden door", asked="how do I lock the garden door"))[0]) < before - 1


def test_the_unknown_makes_odds_smaller() -> None:
    sure, unsure = Judge(prior(spread=0.01)), Judge(prior(spread=1.0))
    assert odds(sure, SAME) > odds(unsure, SAME) > 0 > odds(unsure, OTHER) > odds(sure, OTHER)


def test_words_that_never_mattered_and_words_that_always_did() -> None:
    judge = Judge(prior())
    other = "how do I close my old savings account"
    found = pairs(ASKED, [Neighbour("e", other, 0.9, "a")])
    worst = EXTRA.index("words_worst")
    assert rows(judge, other)[0, worst] == 0
    judge.note_words(found[0].words, 1.0)
    assert rows(judge, other)[0, worst] == pytest.approx(log(2))
    for _ in range(3):
        judge.note_words(found[0].words, 0.0)
    assert rows(judge, other)[0, worst] == pytest.approx(log(2 / 4))


def test_the_worst_word_and_the_mean_of_words() -> None:
    judge = Judge(prior())
    good, bad = (pairs("it", [Neighbour("e", word, 0.9, "a")])[0].words for word in ("harbour", "lantern"))
    judge.note_words(good, 1.0)
    judge.note_words(bad, 0.0)
    row = rows(judge, "harbour lantern", asked="it")[0]
    assert row[EXTRA.index("words_worst")] == pytest.approx(-log(2))
    assert row[EXTRA.index("words_mean")] == pytest.approx(0)


def test_the_record_of_an_answer() -> None:
    judge, record = Judge(prior()), EXTRA.index("answer_record")
    found = judge.rows(pairs(ASKED, [Neighbour("e", SAME, 0.9, "a"), Neighbour("f", OTHER, 0.8, "b")]))
    assert found[:, record].tolist() == [0, 0]
    judge.note_answer(hashed("b"), 0.0)
    found = judge.rows(pairs(ASKED, [Neighbour("e", SAME, 0.9, "a"), Neighbour("f", OTHER, 0.8, "b")]))
    assert found[:, record].tolist() == [0, pytest.approx(-log(2))]


def test_records_are_bounded_and_the_longest_untouched_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.domain.routing.similarity.judge._MOST_KNOWN", 3)
    judge = Judge(prior())
    for answer in (1, 2, 3, 1, 4):
        judge.note_answer(answer, 1.0)
    assert judge.learned().answers == {3: (1, 0), 1: (2, 0), 4: (1, 0)}


# --- that nothing breaks it


def test_ten_thousand_observations_of_anything() -> None:
    random = np.random.default_rng(5)
    judge = Judge(shipped())
    ceiling = np.square(shipped().spread)
    for step in range(10_000):
        row = random.normal(size=WIDTH) * random.choice([0.01, 1.0, 8.0])
        judge.learn(row, float(random.random()), float(random.choice([0.5, 1.0, 50.0, 1e12])))
        if step % 500 == 0:
            spread = spread_of(judge)
            assert np.linalg.eigvalsh(spread).min() > 0
            assert (np.diag(spread) <= ceiling * (1 + 1e-9)).all()
    assert np.isfinite(judge.learned().weights).all()
    assert np.abs(judge.learned().weights).max() < 1e3
    assert np.allclose(spread_of(judge), spread_of(judge).T)
    assert np.isfinite(judge.odds(rows(judge, SAME, OTHER))).all()


def test_it_never_stops_learning() -> None:
    judge = Judge(prior())
    row = rows(judge, SAME)[0]
    unsure = []
    for step in range(20_000):
        judge.learn(row, float(step % 2), 1.0)
        if step in (9_999, 19_999):
            unsure.append(float(row @ spread_of(judge) @ row))
    assert unsure[1] > 0.65 * unsure[0]  # twice the observations would halve it


@given(st.lists(st.tuples(st.sampled_from([SAME, OTHER]), st.floats(0, 1), st.floats(0.1, 20)), max_size=20))
def test_what_was_learned_can_be_taken_over(lessons: list[tuple[str, float, float]]) -> None:
    judge, heir = Judge(prior()), Judge(prior())
    for other, agreed, weight in lessons:
        found = pairs(ASKED, [Neighbour("e", other, 0.9, "a")])[0]
        judge.learn(rows(judge, other)[0], agreed, weight)
        judge.note_words(found.words, agreed)
        judge.note_answer(7, agreed)
    heir.go_on(msgspec.msgpack.decode(msgspec.msgpack.encode(judge.learned()), type=Learned))
    assert heir.learned() == judge.learned()
    assert (odds(heir, SAME), odds(heir, OTHER)) == (odds(judge, SAME), odds(judge, OTHER))
    heir.note_answer(8, 1.0)
    assert 8 not in judge.learned().answers


@pytest.mark.parametrize(
    "foreign",
    [
        Learned([0.0] * (WIDTH - 1), [[0.0] * WIDTH] * WIDTH),
        Learned([0.0] * WIDTH, [[0.0] * WIDTH] * (WIDTH - 1)),
        Learned([0.0] * WIDTH, [[0.0] * WIDTH] * (WIDTH - 1) + [[0.0]]),
    ],
)
def test_what_was_learned_of_other_features_is_refused(foreign: Learned) -> None:
    judge = Judge(prior())
    before = judge.learned()
    with pytest.raises(ValueError, match="other features"):
        judge.go_on(foreign)
    assert judge.learned() == before
