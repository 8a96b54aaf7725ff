"""Two questions as numbers: finite whatever they are, and each number means what its name says."""

from collections.abc import Sequence
from math import isfinite

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.similarity.evidence import Neighbour
from penstock.domain.routing.similarity.features import NAMES, hashed, pairs
from penstock.domain.routing.similarity.guards import GUARDS
from tests.unit.routing.similarity.texts import ANY

ASKED = "how do I close my savings account"


def near(*found: tuple[str, float, str]) -> list[Neighbour]:
    """(text, similarity, answer) of each"""
    return [Neighbour(f"entry-{at}", text, similarity, answer) for at, (text, similarity, answer) in enumerate(found)]


def told(asked: str, neighbours: Sequence[Neighbour], at: int = 0) -> dict[str, float]:
    return dict(zip(NAMES, pairs(asked, neighbours)[at].numbers, strict=True))


NEIGHBOURS = st.lists(st.tuples(ANY, st.floats(-1.0, 1.0), st.sampled_from("abc")), min_size=1, max_size=8).map(
    lambda found: near(*sorted(found, key=lambda each: -each[1]))
)


@given(ANY, NEIGHBOURS)
def test_numbers_are_finite_and_small(asked: str, neighbours: list[Neighbour]) -> None:
    found = pairs(asked, neighbours)
    assert [pair.neighbour for pair in found] == neighbours
    for pair in found:
        assert len(pair.numbers) == len(NAMES)
        assert all(isfinite(number) and abs(number) <= 10 for number in pair.numbers)
        assert all(0 <= word < 2**32 for word in pair.words)


@given(ANY, NEIGHBOURS)
def test_names_of_entries_and_answers_do_not_matter(asked: str, neighbours: list[Neighbour]) -> None:
    others = [
        msgspec.structs.replace(each, entry="other" * (at + 1), answer=f"same as {each.answer}") for at, each in enumerate(neighbours)
    ]
    assert [pair.numbers for pair in pairs(asked, others)] == [pair.numbers for pair in pairs(asked, neighbours)]


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(GUARDS) < set(NAMES)


def test_the_same_question() -> None:
    found = told(ASKED, near((ASKED, 1.0, "a")))
    assert found["same_words"] == 1
    assert found["overlap"] == 1
    assert found["alone"] == found["votes"] == 1
    zero = (
        "missing",
        "extra",
        "swapped",
        "slips",
        "functions_differ",
        "asking_differs",
        "longer",
        "rank",
        "rivals",
        "backing",
        "crowd",
        *GUARDS,
    )
    assert [name for name in zero if found[name]] == []


def test_words_that_differ() -> None:
    found = told(ASKED, near(("how do I close my current account", 0.9, "a")))
    assert (found["missing"], found["extra"], found["swapped"], found["same_words"]) == (0.5, 0.5, 1, 0)
    assert found["overlap"] == pytest.approx(2 / 4)
    pair = pairs(ASKED, near(("how do I close my current account", 0.9, "a")))[0]
    assert pair.words == (hashed("saving"), hashed("current"))


def test_words_of_one_side_only() -> None:
    one, other = "close account", "close the joint savings account in Rome today"
    assert (told(one, near((other, 0.9, "a")))["missing"], told(one, near((other, 0.9, "a")))["extra"]) == (0, 2)
    assert (told(other, near((one, 0.9, "a")))["missing"], told(other, near((one, 0.9, "a")))["extra"]) == (2, 0)
    assert told(one, near((other, 0.9, "a")))["swapped"] == 0


def test_a_name_is_a_rare_word() -> None:
    found = told("call Zebulonia now", near(("call mother now", 0.9, "a")))
    assert (found["rare_missing"], found["rare_extra"]) == (1, 0)
    found = told("call mother now", near(("call Zebulonia now", 0.9, "a")))
    assert (found["rare_missing"], found["rare_extra"]) == (0, 1)


@pytest.mark.parametrize(
    ("guard", "other"), [("numbers", "how do I close my 2 savings accounts"), ("negation", "how do I not close my savings account")]
)
def test_guards_are_numbers_too(guard: str, other: str) -> None:
    found = told(ASKED, near((other, 0.9, "a")))
    assert [name for name in GUARDS if found[name]] == [guard]


def test_nearer_is_a_smaller_distance() -> None:
    far, close = (told(ASKED, near(("close it", similarity, "a"))) for similarity in (0.6, 0.97))
    assert close["distance"] < far["distance"]
    assert (far["far"], far["very_near"]) == pytest.approx((1.0, 0))
    assert (close["far"], close["very_near"]) == pytest.approx((0, 0.4))


def test_what_neighbours_say_together() -> None:
    around = near(("one", 0.95, "a"), ("two", 0.94, "a"), ("three", 0.90, "b"), ("four", 0.70, "c"))
    first, second, third, last = (told(ASKED, around, at) for at in range(4))
    assert (first["margin"], third["margin"]) == pytest.approx((0.4, -0.4))
    assert first["alone"] == 0
    assert (first["rank"], second["rank"], third["rank"]) == (0, 0.4, 0.8)
    assert (first["backing"], second["backing"], third["backing"]) == (0.5, 0.5, 0)
    assert first["votes"] == second["votes"] == pytest.approx((0.15 + 0.14) / (0.15 + 0.14 + 0.10))
    assert last["votes"] == 0
    assert (first["better_of_answer"], second["better_of_answer"]) == pytest.approx((0, 0.08))
    assert (first["rivals"], third["rivals"], last["rivals"]) == pytest.approx((1 / 2.5, 2 / 2.5, 3 / 2.5))
    assert first["crowd"] == last["crowd"] == pytest.approx(0.25)


def test_without_another_answer_there_is_no_margin() -> None:
    found = told(ASKED, near(("one", 0.95, "a"), ("two", 0.94, "a")))
    assert (found["margin"], found["alone"]) == (2, 1)


def test_how_long_they_are() -> None:
    short, long = "close it", "close it for me, as I am going to move to another country in May"
    assert (told(short, near((long, 0.9, "a")))["short"], told(long, near((short, 0.9, "a")))["short"]) == (1, 0)
    assert told(long, near((short, 0.9, "a")))["longer"] == 1 == -told(short, near((long, 0.9, "a")))["longer"]


def test_words_are_hashed_the_same_everywhere() -> None:
    assert (hashed("account"), hashed("\ud800")) == (HASHED, hashed("\ud800"))
    assert hashed("account") != hashed("accounts")


HASHED = 2096494165
