"""The order of prices, and the sentence that says which one counts."""

from fractions import Fraction

from penstock.domain.prices.book import Offer, PriceBook
from penstock.domain.prices.rates import compile_rates
from penstock.domain.prices.schedule import Schedule, Window, constant

EARLY = constant(compile_rates("early", "1", {"uncached_input": Fraction(1)}))
LATE = Schedule((1000,), (compile_rates("late", "1", {"uncached_input": Fraction(2)}),))


def test_the_first_source_that_has_a_price_counts() -> None:
    book = PriceBook({"m": [Offer(None, "the config gives no price"), Offer(LATE, "by fleet `f`"), Offer(EARLY, "by the feed")]})
    assert book.schedule("m") is LATE
    assert book.why("m") == "priced: by fleet `f`"


def test_without_a_price_every_source_says_why() -> None:
    book = PriceBook({"m": [Offer(None, "the config gives no price"), Offer(None, "its upstream `u` has no provider")], "n": []})
    assert book.schedule("m") is None
    assert book.why("m") == "unpriced: the config gives no price; its upstream `u` has no provider"
    assert book.why("n").startswith("unpriced")


def test_unknown_models_are_said_to_be_unknown() -> None:
    assert PriceBook({}).schedule("x") is None
    assert "`x` is not a configured model" in PriceBook({}).why("x")


def test_unpriced_models_are_those_without_a_price_at_the_instant() -> None:
    book = PriceBook({"a": [Offer(EARLY, "")], "b": [Offer(LATE, "")], "c": []})
    assert book.models() == ["a", "b", "c"]
    assert book.unpriced(999) == ["b", "c"]
    assert book.unpriced(1000) == ["c"]


def test_a_class_without_a_price_is_never_given_the_standard_one() -> None:
    batch = constant(compile_rates("early#batch", "1", {"uncached_input": Fraction(1, 2)}))
    book = PriceBook({"m": [Offer(EARLY, "", {"batch": batch})], "own": [Offer(EARLY, "", {"batch": batch}, classless=True)]})
    assert book.schedule("m", "batch") is batch
    assert book.schedule("m", "flex") is None
    assert book.schedule("own", "batch") is batch
    assert book.schedule("own", "flex") is EARLY, "own hardware knows no classes"
    assert (book.classless("m"), book.classless("own"), book.classless("x")) == (False, True, False)


def test_every_entry_is_told_once_under_its_name() -> None:
    hours = Schedule(
        (0, 100),
        (compile_rates("a", "1", {}), compile_rates("a", "2", {})),
        ((Window(0, 10, compile_rates("a", "1/0000-0001", {})),), ()),
    )
    book = PriceBook({"m": [Offer(hours, "", {"batch": EARLY})], "n": [Offer(EARLY, "")], "none": []})
    assert [(rates.id, rates.version) for rates in book.entries()] == [("a", "1"), ("a", "1/0000-0001"), ("a", "2"), ("early", "1")]
