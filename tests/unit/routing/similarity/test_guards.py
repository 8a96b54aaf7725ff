"""Which differences speak against an answer, and which do not."""

import time

import pytest
from hypothesis import given

from penstock.domain.routing.similarity.guards import GUARDS, STRICT, Difference, compare, known_words
from penstock.domain.routing.similarity.traits import traits
from tests.unit.routing.similarity.texts import ANY


def between(one: str, other: str) -> Difference:
    return compare(traits(one), traits(other))


@pytest.mark.parametrize(
    ("guard", "one", "other"),
    [
        ("numbers", "convert 5 miles to km", "convert 6 miles to km"),
        ("numbers", "a recipe for two people", "a recipe for four people"),
        ("numbers", "what is new in python 3.11", "what is new in python 3.12"),
        ("numbers", "flights on 2025-03-01", "flights on 2025-03-02"),
        ("numbers", "is -4 even", "is 4 even"),
        ("numbers", "wake me at 5am", "wake me at 5pm"),
        ("numbers", "translate the 2 files", "translate the files"),
        ("numbers", "5 and 5", "5"),
        ("negation", "is it safe to eat", "is it not safe to eat"),
        ("negation", "why does it work", "why doesn't it work"),
        ("negation", "why does it work", "why doesn\u2019t it work"),
        ("negation", "pizza with cheese", "pizza with no cheese"),
        ("antonyms", "turn the light on", "turn the light off"),
        ("antonyms", "cheapest flight to Rome", "dearest flight to Rome"),
        ("antonyms", "how do I enable it", "how do I disable it"),
        ("antonyms", "what happened before the war", "what happened after the war"),
        ("spans", "what does `ls -l` do", "what does `ls -a` do"),
        ("spans", 'who wrote "Emma"', 'who wrote "emma"'),
        ("spans", "translate \u201cgood day\u201d", "translate \u201cgood night\u201d"),
        ("order", "flights from London to Paris", "flights from Paris to London"),
        ("order", "does a dog chase a cat", "does a cat chase a dog"),
        ("order", "flights from Londoon to Paris", "flights from Paris to London"),
        ("case", "who runs the US", "who runs the us"),
        ("case", "how long is a March", "how long is a march"),
        ("language", "how are you", "\u043a\u0430\u043a \u0434\u0435\u043b\u0430"),
        ("asking", "when was Emma written", "who was Emma written by"),
        ("asking", "where is the meeting", "when is the meeting"),
    ],
)
def test_a_guard_speaks_against(guard: str, one: str, other: str) -> None:
    assert guard in between(one, other).guards
    assert guard in between(other, one).guards


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a recipe for 4 people", "a recipe for four people"),
        ("is 1,000 enough", "is 1000 enough"),
        ("how can I not fail", "how can't I fail"),
        ("a big lake of Italy", "a large lake of Italy"),
        ("how do I reset my password", "how can I reset a password"),
        ("reset the cards", "reset the card"),
        ("which river is the longest", "what river is the longest"),
        ("whose is this house", "who is this house of"),
        ("what time is the meeting", "when is the meeting"),
        ("how do I close my acount", "how do I close my account"),
        ("flights from Londoon to Paris", "flights from London to Paris"),
        ("What is a Lake", "what is a lake"),
        ("what is \u6771\u4eac like in summer", "what is it like in summer"),
    ],
)
def test_no_guard_speaks_against(one: str, other: str) -> None:
    assert between(one, other).guards == ()
    assert between(other, one).guards == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fly from London to Paris in winter", "fly from Paris to London"),
        ("does a dog chase a cat in summer", "does a cat chase a dog"),
        ("trains to Vienna", "trains from Vienna"),
        ("a letter for my mother", "a letter by my mother"),
        ("the way from the airport to the centre", "the way to the airport from the centre"),
        ("trains to Vieenna", "trains from Vienna"),
        ("Lisbon, Oslo", "Oslo and now Lisbon"),
    ],
)
def test_what_is_turned_round(one: str, other: str) -> None:
    assert between(one, other).turned
    assert between(other, one).turned


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fly from London to Paris in winter", "a flight from London to Paris"),
        ("how to close an account", "how do I close my account"),
        ("a letter for my mother", "a letter to my mother"),
        ("from Rome to Rome", "to Rome"),
        ("trains to Vienna", "trains in Vienna"),
        ("a gift from Ann", "a gift to Bob"),
    ],
)
def test_what_is_not_turned_round(one: str, other: str) -> None:
    assert not between(one, other).turned
    assert not between(other, one).turned


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("small words", "can all employees see it", "can some employees see it"),
        ("small words", "how do I cancel my order", "how do I cancel your order"),
        ("small words", "who is the king of Spain", "who was the king of Spain"),
        ("small words", "did they beat us", "did we beat them"),
        ("small words", "the speed limit in town", "the speed limit out of town"),
        ("spelling", "Wie kann ich das Dokument drucken", "Wie kann ich das Dokument dr\u00fccken"),
        ("spelling", "\u0432\u043a\u043b\u044e\u0447\u0438\u0442\u044c", "\u0432\u044b\u043a\u043b\u044e\u0447\u0438\u0442\u044c"),
        ("spelling", "\u5982\u4f55\u542f\u7528\u53cc\u91cd\u8ba4\u8bc1", "\u5982\u4f55\u7981\u7528\u53cc\u91cd\u8ba4\u8bc1"),
        ("spelling", "the dose of cefalexin", "the dose of cefalexine"),
        ("signs", "is A+ rare", "is A- rare"),
        ("signs", "can A+ give to B-", "can A- give to B+"),
        ("signs", "what is 5!", "what is 5"),
        ("signs", "what are 50\u20ac in yen", "what are 50$ in yen"),
        ("signs", "what does \u2200 mean", "what does \u2203 mean"),
        ("signs", "what does \U0001f600 mean", "what does \U0001f621 mean"),
        ("signs", "is it 30\u00b0", "is it 30"),
        ("capitals", "you are a doctor", "you are a doctor?"),
    ],
)
def test_what_only_zero_trust_takes_seriously(name: str, one: str, other: str) -> None:
    assert name in between(one, other).strict
    assert name in between(other, one).strict


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Could you please tell me what's the capital of France? Thank you!", "what is the capital of France"),
        ("how do I close my acount?", "How do I just close my account"),
        ("how can I close my account", "how do I close my account"),
        ("please reset the well-known card", "reset a well known card"),
        ("caf\u00e9 (in Paris)", "cafe\u0301 in Paris"),
    ],
)
def test_what_not_even_zero_trust_takes_seriously(one: str, other: str) -> None:
    assert between(one, other).strict == ()
    assert between(other, one).strict == ()


def test_words_that_differ() -> None:
    found = between("cancel the red order now", "cancel the blue orders of Monday")
    assert (found.missing, found.extra, found.slips, found.shared) == (("red",), ("blue", "monday"), 0, 2)


def test_a_slip_is_no_other_word() -> None:
    found = between("close my acount in Berlin", "close my account in Berlin")
    assert (found.missing, found.extra, found.slips, found.shared) == ((), (), 1, 4 - 1)


def test_words_that_exist_are_no_slips_for_each_other() -> None:
    found = between("how to fix a broken angle", "how to fix a broken angel")
    assert (found.missing, found.extra, found.slips) == (("angle",), ("angel",), 0)


def test_one_slip_stands_for_one_word() -> None:
    found = between("acount accoumt", "account")
    assert (found.missing, found.extra, found.slips) == (("accoumt",), (), 1)


def test_known_words_are_in_small_letters() -> None:
    words = known_words()
    assert {"account", "receive", "paris"} <= words
    assert all(word == word.lower() for word in words)
    assert not {"acount", "recieve", "londoon"} & words


@given(ANY)
def test_nothing_speaks_against_the_same(text: str) -> None:
    found = between(text, text)
    assert (found.missing, found.extra, found.slips, found.guards, found.turned, found.strict) == ((), (), 0, (), False, ())


@given(ANY, ANY)
def test_guards_speak_both_ways(one: str, other: str) -> None:
    there, back = between(one, other), between(other, one)
    assert there.guards == back.guards
    assert there.turned == back.turned or there.slips
    assert set(there.guards) <= set(GUARDS)
    assert set(there.strict) <= set(STRICT)
    assert (there.missing, there.extra) == (back.extra, back.missing) or there.slips or back.slips


def test_the_longest_texts() -> None:
    one, other = traits(_unknown_words("x")), traits(_unknown_words("y"))
    begun = time.process_time()
    found = compare(one, other)
    assert time.process_time() - begun < 0.05
    assert (len(found.missing), len(found.extra), found.shared) == (len(one.bag), len(other.bag), 0)


def _unknown_words(start: str) -> str:
    """200,000 characters of words that differ by a letter or two."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [f"{start}q{one}{two}{three}" for one in letters for two in letters for three in letters]
    return " ".join(words * 2)[:200_000]
