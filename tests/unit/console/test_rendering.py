"""What templates write: code between backticks, and never somebody's markup."""

import pytest

from penstock.console.rendering import known, plan_hint, ticked


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("write `30d`", "write <code>30d</code>"),
        ("`<b>` is <i>", "<code>&lt;b&gt;</code> is &lt;i&gt;"),
        ("a stray ` is kept", "a stray ` is kept"),
        ("`` <", "<code></code> &lt;"),
    ],
)
def test_backticks_are_code(text: str, html: str) -> None:
    assert str(ticked(text)) == html


def test_unknown_is_set_apart() -> None:
    assert known(None) == '<span class="unknown">unknown</span>'
    assert known("search") == "search"


@pytest.mark.parametrize(("forecast", "limit"), [(None, "10"), ("3.5", "10"), ("58310.123456789", "80000")])
def test_a_first_plan_is_round_and_a_little_above_what_is_expected(forecast: str | None, limit: str) -> None:
    assert plan_hint(forecast) == limit
