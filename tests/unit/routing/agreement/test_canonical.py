"""Answers that say the same have one canonical form, and no others."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.agreement.canonical import canonical, digest, same
from penstock.domain.routing.agreement.keys import answer_key
from penstock.domain.routing.agreement.options import letter_of, options_of
from tests.unit.routing.agreement.pairs import BARE, CODE, OPTIONS, WHOLE, Pair

ANSWERS = st.one_of(
    st.text(max_size=60),
    st.sampled_from([each for pair in BARE for each in pair[:2]] + [each for pair in WHOLE for each in (pair.one, pair.other)]),
    st.from_regex(r"[-$]?\d{1,4}([.,]\d{1,3})?( ?%| ?km)?", fullmatch=True),
    st.text("[]{}()'\"\\$%, 12ab:\n`", max_size=30),
)
QUESTIONS = st.sampled_from([None, OPTIONS, CODE, "How many?"])


def test_the_table_is_large_enough() -> None:
    assert len(BARE) + len(WHOLE) >= 150


@pytest.mark.parametrize(("one", "other", "alike"), BARE)
def test_keys_of_bare_answers(one: str, other: str, alike: bool) -> None:
    first, second = answer_key(one), answer_key(other)
    assert (first == second) is alike, (first, second)


@pytest.mark.parametrize("pair", WHOLE)
def test_whole_answers(pair: Pair) -> None:
    first, second = canonical(pair.one, pair.question), canonical(pair.other, pair.question)
    assert same(first, second) is pair.same, (first, second)
    assert same(second, first) is pair.same


@given(ANSWERS, QUESTIONS)
def test_the_key_of_a_key_is_that_key(answer: str, question: str | None) -> None:
    key = answer_key(answer, question)
    assert key is None or answer_key(key, question) == key


@given(ANSWERS, ANSWERS, QUESTIONS)
def test_it_is_symmetric(one: str, other: str, question: str | None) -> None:
    first, second = canonical(one, question), canonical(other, question)
    assert same(first, second) is same(second, first)
    if same(first, second) is False:
        assert digest(first) != digest(second)


@given(ANSWERS, QUESTIONS)
def test_an_answer_says_what_it_says(answer: str, question: str | None) -> None:
    form = canonical(answer, question)
    assert same(form, form) is (True if form.key else None)
    assert (digest(form) is None) is (not form.key)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "{}.0", "${:,}", "\\boxed{{{}}}", "{} apples", "**{}**"]))
def test_a_number_is_one_in_every_notation(number: int, notation: str) -> None:
    written = notation.format(number) if "$" not in notation or number >= 0 else f"-${-number:,}"
    text = f"So.\n\nThe answer is {written}."
    assert canonical(text, "How many apples cost $3?").key == str(number)


@given(st.decimals(-1000, 1000, places=3))
def test_different_numbers_have_different_keys(number: object) -> None:
    assert answer_key(str(number)) != answer_key(f"{number}1")
    assert answer_key(f"{number}0") == answer_key(str(number))


def test_the_cosine_decides_between_longer_texts_only() -> None:
    one = canonical("The capital city of that country lies on the river Seine, as everybody knows by now.")
    other = canonical("It is on the Seine that you will find what is the capital of this land, that is well known.")
    assert same(one, other) is None
    assert same(one, other, 0.95) is True
    assert same(one, other, 0.3) is False
    assert same(canonical("12"), canonical("13"), 0.99) is False


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 100_000,
        "(" * 5_000 + ")" * 5_000,
        "-" * 50_000 + "1",
        '{"a":' * 50_000,
        "1" * 90_000,
        "9" * 50 + "e" + "9" * 50,
        "a" * 5_000_000,
        "\\frac{" * 20_000,
        "\\boxed{" * 10_000,
        "```\n" * 20_000,
        "answer is " * 9_000,
        "1+" * 9_000 + "1",
        "not " * 9_000 + "x",
        "\x00\ud800",
        " " * 90_000 + "x",
        "**" * 40_000,
        "1e" + "9" * 4_000,
        "x=" * 9_000,
        "(A)" * 30_000,
    ],
)
def test_odd_answers_are_answers(bomb: str) -> None:
    for question in (None, OPTIONS, CODE, "How many?"):
        form = canonical(bomb, question)
        assert same(form, form) in (True, None)
    answer_key(bomb)


def test_of_answers_beyond_reading_only_equality_is_seen() -> None:
    long = "x " * 100_000
    assert same(canonical(long), canonical(long)) is True
    assert same(canonical(long), canonical(long + "y")) is None


LEAD = "Thank you for writing to us about the parcel that you ordered last week and that came broken. "


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        ("What is the refund policy?", "You get your money back within 30 days.", "Nothing is paid back; complain within 30 days."),
        ("What is a pangolin?", "It learns. There are 3 kinds.", "It is a plant. There are 3 kinds."),
        (
            "Write a reply.",
            "We pay all.\n\nWrite if you need **anything else**!",
            "We pay nothing.\n\nWrite if you need **anything else**!",
        ),
        ("What do you pay?", "We pay all.\n\n**Best regards**", "We pay nothing.\n\n**Best regards**"),
        ("Summarise the report.", "Revenue rose.\n\nThe point is **growth**.", "Revenue fell.\n\nThe point is **growth**."),
        ("Find the best hotel.", "The Ritz, for it has a pool of 20 m.", "The Astor, for it has a pool of 20 m."),
    ],
)
def test_texts_that_only_end_alike_do_not_say_the_same(question: str, one: str, other: str) -> None:
    assert same(canonical(LEAD + one, question), canonical(LEAD + other, question)) is not True


def test_no_problem_is_no_no() -> None:
    question = "Is it safe to open it?"
    assert same(canonical("No problem, it is safe", question), canonical("No.", question)) is not True
    assert same(canonical("No, it burns", question), canonical("No.", question)) is True


def test_very_long_texts_are_only_seen_to_be_equal() -> None:
    one, other = (f"The {name} jumps over the dog. " * 4_000 for name in ("fox", "cat"))
    assert same(canonical(one), canonical(one)) is True
    assert same(canonical(one), canonical(other), 1.0) is None


GAPS = (" ", "\n", "\n\t", "_", "```\n", "<answer>", ". is ", "\nis ", "answer ", "(A) ", "#### ", "$$")


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("lead", ["a", "answer: ", "A) x", "(A) x", "```\n", "<answer>$$$$", "#### x", "is it?"])
def test_long_runs_hold_nobody_up(lead: str, gap: str) -> None:
    """A worker has one thread: what a model or a client repeats must not keep it for seconds."""
    text = lead + gap * (40_000 // len(gap)) + "x</answer>\nB) y"
    began = time.process_time()
    for question in (None, "A) a\nB) b", "How many?"):
        canonical(text, question)
    canonical("yes, it is", text)
    options_of(text)
    letter_of(text, {"A": "a", "B": "b"})
    assert time.process_time() - began < 1.5
