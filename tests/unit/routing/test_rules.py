"""A rule that matches binds; several bind together."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.rules import RuleBook, RuleLaw

TAGS = st.dictionaries(st.sampled_from(["data", "team", "sla"]), st.sampled_from(["a", "b"]), max_size=3)
UPSTREAMS = st.lists(st.sampled_from(["local", "eu", "us"]), max_size=3)
RULES = st.lists(st.builds(RuleLaw, TAGS, UPSTREAMS), max_size=5)


@given(RULES, TAGS)
def test_allowed_is_the_intersection_of_all_that_match(rules: list[RuleLaw], tags: dict[str, str]) -> None:
    matching = [set(rule.only) for rule in rules if rule.where.items() <= tags.items()]
    expected = set.intersection(*matching) if matching else None
    assert RuleBook(rules).allowed(tags) == (None if expected is None else frozenset(expected))
    among = frozenset({"local", "us"})
    assert RuleBook(rules).allowed(tags, among) == (None if expected is None else expected & among)


def test_a_request_without_the_tag_is_not_matched() -> None:
    book = RuleBook([RuleLaw({"data": "restricted"}, ["local"])])
    assert book.allowed({"data": "restricted"}) == frozenset({"local"})
    assert book.allowed({"data": "public"}) is None
    assert book.allowed({}) is None


def test_rules_that_exclude_each_other_leave_nothing() -> None:
    book = RuleBook([RuleLaw({"a": "1"}, ["x"]), RuleLaw({"b": "1"}, ["y"])])
    assert book.allowed({"a": "1", "b": "1"}) == frozenset()


def test_names_in_rules_are_normalised() -> None:
    assert RuleBook([RuleLaw({"Cost-Center": "7"}, ["x"])]).allowed({"cost_center": "7"}) == frozenset({"x"})
