"""Answers that nobody may get again: for as long as some layer may hold them, and however many they are."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.gateway.semantic.withdrawn import Withdrawn


def test_what_is_withdrawn_stays_so_for_its_time() -> None:
    withdrawn = Withdrawn(10.0)
    withdrawn.add(["req_2"], [], "req_3", 100.0)
    assert [withdrawn.has(each, 109.9) for each in ("req_1", "req_2", "req_3")] == [False, True, False]
    withdrawn.add(["req_2"], [], "req_3", 105.0)
    assert withdrawn.has("req_2", 114.9) and not withdrawn.has("req_2", 115.0)


def test_of_more_than_there_is_room_for_none_is_let_through() -> None:
    withdrawn = Withdrawn(10.0, most=2)
    withdrawn.add(["req_5", "req_3", "req_7", "req_8"], [], "req_9", 100.0)
    assert len(withdrawn) == 2
    told = {each: withdrawn.has(f"req_{each}", 109.0) for each in range(1, 10)}
    assert told == {1: True, 2: True, 3: True, 4: True, 5: True, 6: False, 7: True, 8: True, 9: False}
    assert not any(withdrawn.has(f"req_{each}", 110.0) for each in range(1, 10))


def test_of_a_wording_what_is_older_is_withdrawn() -> None:
    withdrawn = Withdrawn(10.0, most=2)
    assert not withdrawn.may_have("req_1")
    withdrawn.add([], [b"w"], "req_5", 100.0)
    assert [withdrawn.may_have(each) for each in ("req_4", "req_5", "req_6")] == [True, False, False]
    assert withdrawn.has_wording(b"w", "req_4", 109.0) and not withdrawn.has_wording(b"w", "req_4", 110.0)
    assert not withdrawn.has_wording(b"w", "req_5", 109.0) and not withdrawn.has_wording(b"v", "req_4", 109.0)
    assert not withdrawn.has("req_4", 109.0)
    withdrawn.add([], [b"v"], "req_6", 101.0)
    assert len(withdrawn) == 2
    withdrawn.add([], [b"u"], "req_7", 102.0)
    assert withdrawn.has("req_4", 109.0) and withdrawn.has("req_5", 109.0) and not withdrawn.has("req_6", 109.0)
    assert withdrawn.has_wording(b"v", "req_5", 109.0), "two wordings are kept, of the third one only what all of then is older than"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=60), st.integers(1, 5))
def test_it_is_bounded_and_forgets_nothing_before_its_time(acts: list[tuple[int, int]], most: int) -> None:
    withdrawn, now = Withdrawn(5.0, most), 0.0
    until: dict[str, float] = {}
    for number, later in acts:
        now += later
        withdrawn.add([f"req_{number}"], [], "req_", now)
        until[f"req_{number}"] = now + 5
        assert len(withdrawn) <= most
        assert all(withdrawn.has(request, now) for request, end in until.items() if end > now)
    assert not any(withdrawn.has(request, now + 5) for request in until)
