"""Turns: each tenant one in each round, first come first served within a tenant, and the greedy lose first."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from penstock.gateway.turns import Turns


def waiting(names: str) -> Turns[str]:
    """One item for each letter: the letter is the tenant, its number its place among the tenant's items."""
    turns: Turns[str] = Turns()
    seen: dict[str, int] = defaultdict(int)
    for name in names:
        seen[name] += 1
        turns.add(name, f"{name}{seen[name]}")
    return turns


def taken(turns: Turns[str]) -> list[str]:
    found = []
    while (item := turns.take()) is not None:
        found.append(item)
    return found


def test_tenants_take_turns() -> None:
    assert taken(waiting("aaaabbc")) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_a_tenant_that_comes_late_waits_for_one_round_at_most() -> None:
    turns = waiting("a" * 100)
    assert turns.take() == "a1"
    turns.add("b", "b1")
    assert [turns.take(), turns.take(), turns.take()] == ["a2", "b1", "a3"]


def test_the_newest_of_the_greediest_is_dropped() -> None:
    turns = waiting("aabbbc")
    assert (turns.greed, turns.drop(), turns.greed) == (3, "b3", 2)
    assert (turns.drop(), turns.drop()) == ("b2", "a2"), "of equals, the one whose turn is last"
    assert taken(turns) == ["a1", "b1", "c1"]
    assert (turns.greed, len(turns)) == (0, 0)


def test_one_that_has_left_is_not_served() -> None:
    turns = waiting("aab")
    turns.remove("a", "a1")
    turns.remove("a", "a1")
    turns.remove("z", "z1")
    turns.remove("b", "b1")
    assert len(turns) == 1 and taken(turns) == ["a2"]


@given(st.text("abcd", max_size=40), st.lists(st.sampled_from(["take", "drop", "remove"]), max_size=40))
def test_all_are_served_once_and_within_their_round(names: str, actions: list[str]) -> None:
    turns = waiting(names)
    left = set(taken(waiting(names)))
    assert len(left) == len(names)
    for action in actions:
        if not left:
            assert turns.take() is None
            continue
        if action == "remove":
            item = min(left)
            turns.remove(item[0], item)
        elif action == "drop":
            item = turns.drop()
            counts = [sum(other[0] == tenant for other in left) for tenant in {other[0] for other in left}]
            assert sum(other[0] == item[0] for other in left) == max(counts)
        else:
            item = turns.take() or ""
            assert all(int(other[1:]) >= int(item[1:]) for other in left if other[0] == item[0])
        left.remove(item)
        assert len(turns) == len(left)
    tail = taken(turns)
    assert set(tail) == left
    for tenant in {item[0] for item in tail}:
        for at, item in enumerate(tail):
            if item[0] == tenant:
                others: dict[str, int] = defaultdict(int)
                for before in tail[:at]:
                    others[before[0]] += 1
                assert max(others.values(), default=0) <= others[tenant] + 1, "nobody is a turn ahead"
