"""Figures for people: three digits where they matter, unknown said, never rounded up to all of it."""

import pytest

from penstock.console import words


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("41203.490000000", "$41,203"), ("200.000000000", "$200"), ("3.065000000", "$3.06"), ("0.004120000", "$0.00412"),
        ("0.000000001", "$0.000000001"), ("0", "$0"), ("-12.345000000", "\u2212$12.34"), (None, "unknown"),
    ],
)  # fmt: skip
def test_usd(amount: str | None, shown: str) -> None:
    assert words.usd(amount) == shown


def test_usd_of_a_column() -> None:
    places = words.places_of("12.5", "0.001", None)
    assert [words.usd(amount, places) for amount in ("12.5", "0.001", "0")] == ["$12.50", "<$0.01", "$0.00"]
    assert words.signed_usd("3", 2) == "+$3.00"
    assert words.signed_usd("-3", 2) == "\u2212$3.00"
    assert [words.signed_usd(amount, 0) for amount in ("0.3", "-0.3", "0")] == ["<$1", "<$1", "$0"]


@pytest.mark.parametrize(("share", "shown"), [(1.0, "100"), (0.99999, "99.9"), (0.5, "50"), (0.0004, "<0.1"), (0.0, "0"), (1.116, "111.6")])
def test_percent_is_cut(share: float, shown: str) -> None:
    assert words.percent(share) == f"{shown}\u202f%"


def test_other_figures() -> None:
    assert [words.count(number) for number in (None, 12, 12_345, 123_456, 7_654_321)] == ["unknown", "12", "12,345", "123k", "7.65M"]
    assert [words.seconds(value) for value in (None, 0.00042, 0.42, 1.234, 300)] == [
        "unknown",
        "0.42\u202fms",
        "420\u202fms",
        "1.23\u202fs",
        "5\u202fmin",
    ]
    assert [words.seconds(value) for value in (7_199, 21_600, 604_800)] == ["120\u202fmin", "6\u202fh", "7\u202fdays"]
    assert [words.times(ratio) for ratio in (None, 0.0, 0.0001, 1.2345)] == ["unknown", "0.00", "<0.01", "1.23"]
    assert (words.instant("2026-11-21T12:00:00Z", "Asia/Kolkata"), words.instant(None, "UTC")) == ("21 Nov 17:30", "unknown")
    assert words.moment(1_795_262_400 * 10**9, "Asia/Kolkata") == "21 Nov 17:30:00"
    assert words.join(["a", "b", "c"]) == "a, b and c"
    assert (words.plural(1, "request"), words.plural(2, "request")) == ("1 request", "2 requests")
