"""The address bar: what is read is what is written back, and what cannot be read is told with a hint."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.stores.cubes import SUMS_CUBE
from penstock.console.query import ROLLED_UP, Address, read_address
from penstock.finops.costs import QueryError
from penstock.finops.window import WindowError

NOW_NS = 1_795_262_400 * 10**9
KEYS = st.sampled_from(["team", "feature", "model", "day", "a.b"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text == text.strip())


def read(text: str, **defaults: object) -> Address:
    given: dict[str, object] = {"now_ns": NOW_NS, "timezone": "UTC", "since": "30d"}
    return read_address("/costs", text, **given | defaults)  # type: ignore[arg-type]


@given(
    st.lists(KEYS, unique=True, max_size=3),
    st.lists(st.tuples(KEYS, VALUES), max_size=3),
    st.sampled_from(["24h", "2026-10", "2026-11-02"]),
)
def test_what_is_read_is_what_is_written_back(by: list[str], where: list[tuple[str, str]], since: str) -> None:
    address = read("").over(since).grouped(*by)
    for key, value in where:
        address = address.only(key, value)
    again = read(urlsplit(address.link()).query)
    assert (again.by, again.where, again.since) == (address.by, address.where, since)
    assert read(urlsplit(again.link()).query) == again


def test_links_keep_what_they_do_not_change() -> None:
    address = read("since=7d&by=team,model&where=team%3Dsearch&where=tier=large&sort=requests&after=x")
    assert address.link(".csv") == "/costs.csv?since=7d&sort=requests&by=team%2Cmodel&where=team%3Dsearch&where=tier%3Dlarge&after=x"
    assert address.without("team", "search").where == (("tier", "large"),)
    assert address.only("tier", "large").where == address.where
    assert ("by", "team,model") not in address.kept(but="by")
    assert address.get("after") == "x"


def test_empty_fields_are_as_good_as_absent() -> None:
    assert read("since=&until=&by=&where=", by=("team",)) == read("", by=("team",))


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("since=tomorrow", WindowError, "30d"),
        ("where=team", QueryError, "team=search"),
        ("by=cost_usd", QueryError, "day"),
        ("by=%00", QueryError, "team,model"),
        ("by=a,b,c,d,e,f,g,h,i", QueryError, "filter"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, problem: type[Exception], hint: str) -> None:
    with pytest.raises(problem) as told:
        read(text)
    assert hint in told.value.hint  # type: ignore[attr-defined]


def test_no_page_has_that_many_fields() -> None:
    with pytest.raises(ValueError, match="fields"):
        read("&".join(f"where=a{number}=b" for number in range(100)))


def test_what_needs_every_record_is_asked_of_one_day_unless_a_window_is_named() -> None:
    day_ns = 86_400 * 10**9
    for text in ("by=user", "by=team,user", "where=user=ada"):
        address = read(text)
        assert (address.apart, address.window.since_ns, address.since) == (("user",), NOW_NS - day_ns, None)
        assert read(f"{text}&since=7d").window.since_ns == NOW_NS - 7 * day_ns
    assert (read("by=team").apart, read("by=team").window.since_ns) == ((), NOW_NS - 30 * day_ns)


def test_the_keys_without_every_record_are_those_that_the_store_keeps_sums_of() -> None:
    assert {*ROLLED_UP} == {*SUMS_CUBE.keys, "day", "hour"}
