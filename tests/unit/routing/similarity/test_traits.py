"""What is read off a text, whatever the text is."""

import time

import pytest
from hypothesis import given

from penstock.domain.routing.similarity.traits import LONGEST, is_slip, stem, traits
from tests.unit.routing.similarity.texts import ANY

KNOWN = frozenset({"form", "from", "there", "three", "account", "receive", "angle", "angel"})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("for 3 of 12 people", ("12", "3")),
        ("for three of twelve people", ("12", "3")),
        ("python 3.11 and 3.12", ("3.11", "3.12")),
        ("on 2024-01-05 at 10:30", ("10:30", "2024-01-05")),
        ("1,000 and 12,345,678.5", ("1000", "12345678.5")),
        ("1,5", ("1,5",)),
        ("5am or 5pm", ("5am", "5pm")),
        ("20% of -4", ("-", "20%", "4")),
        ("half a dozen, twice", ("1/2", "12", "2")),
        ("the second and the 2nd", ("2nd", "2nd")),
        ("mp3 and C++", ()),
        ("a well-known co-op", ()),
    ],
)
def test_numbers(text: str, numbers: tuple[str, ...]) -> None:
    assert traits(text).numbers == numbers


@pytest.mark.parametrize(
    ("text", "negations"),
    [
        ("I do not know", 1),
        ("I don't know", 1),
        ("I don\u2019t know", 1),
        ("it AIN'T so", 1),
        ("never without", 2),
        ("know a knot", 0),
    ],
)
def test_negations(text: str, negations: int) -> None:
    assert traits(text).negations == negations


def test_what_a_question_is_about() -> None:
    found = traits("How do I reset the passwords of John's boxes?")
    assert found.words == ("reset", "password", "john", "box")
    assert found.asking == ("how",)
    assert found.functions == {"how", "do", "i", "the", "of"}
    assert found.length == 9


def test_spans_stand_for_themselves() -> None:
    found = traits('what does `git Push` do, and "Not 5 Now"')
    assert found.spans == ("git Push", "Not 5 Now")
    assert found.words == ("git push", "not 5 now")
    assert (found.numbers, found.negations) == ((), 0)


def test_both_words_of_a_side_are_one_side() -> None:
    assert traits("a large one").sides == traits("the larger one").sides != frozenset()
    assert traits("turn it on").sides.isdisjoint(traits("turn it off").sides)


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("how are you", False),
        ("\u043a\u0430\u043a \u0434\u0435\u043b\u0430", True),
        ("caf\u00e9 cr\u00e8me", False),
        ("12 + 3", False),
        ("the \u6771", False),
    ],
)
def test_script(text: str, foreign: bool) -> None:
    assert traits(text).foreign is foreign


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        ("cards", "card"), ("cities", "city"), ("boxes", "box"), ("dishes", "dish"), ("classes", "class"), ("class", "class"),
        ("bus", "bus"), ("gas", "gas"), ("axis", "axis"), ("john's", "john"), ("ties", "tie"), ("news", "new"),
    ],
)  # fmt: skip
def test_endings(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acount", "account"),
        ("accountt", "account"),
        ("accoumt", "account"),
        ("acocunt", "account"),
        ("recieve", "receive"),
        ("accoun", "account"),
    ],
)
def test_slips_of_the_fingers(one: str, other: str) -> None:
    assert is_slip(one, other, KNOWN)
    assert is_slip(other, one, KNOWN)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("form", "from"),  # both are words
        ("angle", "angel"),
        ("cat", "cats"),  # too short
        ("barn", "bard"),  # four letters, one changed
        ("1234", "1235"),
        ("abcd1", "abcd2"),
        ("acount", "accounts"),  # two letters more
        ("axcoumt", "account"),  # two letters changed
        ("tnuocca", "account"),
        ("abcdef", "badcef"),  # two exchanges
    ],
)
def test_what_is_no_slip(one: str, other: str) -> None:
    assert not is_slip(one, other, KNOWN)
    assert not is_slip(other, one, KNOWN)


@given(ANY)
def test_any_text_can_be_read(text: str) -> None:
    found = traits(text)
    assert found.bag == frozenset(found.words)
    assert found.length >= len(found.words)
    assert found.numbers == tuple(sorted(found.numbers))


@pytest.mark.parametrize("piece", ["a", "`", '"', "1,", "1", "a'", "a.", "- ", "not ", "\U0001f642", "\u0301", "\u201c", "`x`", " "])
def test_the_longest_texts_take_no_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    begun = time.process_time()
    found = traits(text)
    assert time.process_time() - begun < 0.5
    assert found.length <= LONGEST
    assert found.words == traits(text[:LONGEST]).words
