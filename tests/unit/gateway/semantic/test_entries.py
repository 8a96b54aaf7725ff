"""Entries in memory: who may have them, how long they live whatever the clocks do, and that what is taken out is gone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.indexes.partition import PartitionIndex
from penstock.gateway.semantic.entries import FEW, SAME_WORDING, Entries
from penstock.gateway.semantic.look import NOBODY, Look
from penstock.ports.answer_store import Entry

NOW, TTL = 1_800_000_000 * 10**9, 3_600 * 10**9
AT = 5_000.0
HERE = b"p" * 16
EAST = np.array([1, 0, 0, 0], np.float32)


def vector(angle: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32)


def entry(id: str, angle: float = 0.0, **more: object) -> Entry:
    told = {
        "id": id, "at_ns": NOW, "expires_ns": NOW + TTL, "partition": HERE, "scope": ("keyless",), "wording": id.encode(), "text": id,
        "vector": vector(angle).tobytes(), "embedder": "e", "model": "m", "upstream": "u", "tier": None, "user": None, **more,
    }  # fmt: skip
    return Entry(**told)  # type: ignore[arg-type]


def look(partition: bytes = HERE, user: str = NOBODY, banned: str | None = None, wording: bytes = b"w", ttl_s: float = 1e6) -> Look:
    return Look(("keyless",), partition, wording, "?", user, ttl_s, b"k", banned=banned)


def entries(*put: Entry, users: int = 1) -> Entries:
    kept = Entries(PartitionIndex, users)
    for each in put:
        assert kept.put(each, NOW, AT)
    return kept


def near(kept: Entries, asked: Look | None = None, now_ns: int = NOW, now_at: float = AT, stamp: str = "e") -> list[tuple[str, bool]]:
    found = kept.neighbours(asked or look(), EAST, stamp, lambda upstream, tier: upstream != "forbidden", now_ns, now_at)
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)
    return [(each.entry, each.servable) for each in found]


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 40])
def test_the_nearest_come_first(count: int) -> None:
    kept = entries(*(entry(f"e{at}", 0.01 * at) for at in reversed(range(count))))
    assert [name for name, _ in near(kept)] == [f"e{at}" for at in range(min(count, 8))]
    for at in range(count):
        kept.remove(f"e{at}")
        assert [name for name, _ in near(kept)] == [f"e{each}" for each in range(at + 1, count)][:8]
    assert len(kept) == 0 and kept.size == 0


def test_partitions_and_embedders_are_apart() -> None:
    kept = entries(
        entry("here"), entry("there", partition=b"q" * 16), entry("other", embedder="f"), entry("bare", vector=None, embedder=None)
    )
    assert near(kept) == [("here", True)]
    assert near(kept, look(b"q" * 16)) == [("there", True)]
    assert near(kept, stamp="f") == [("other", True)]
    assert [each.id for each in kept.same_words(look(wording=b"bare"), NOW, AT)] == ["bare"]


def test_a_vector_of_other_dimensions_serves_the_same_words_only() -> None:
    kept = entries(entry("here"), entry("odd", vector=b"\0\0\x80?" * 3))
    assert near(kept) == [("here", True)] and [each.id for each in kept.same_words(look(wording=b"odd"), NOW, AT)] == ["odd"]


@pytest.mark.parametrize(
    ("later_ns", "later_s", "lives"), [(TTL - 1, 3599.0, True), (TTL, 10.0, False), (-TTL, 3600.0, False), (-TTL, 3599.0, True)]
)
def test_no_jump_of_the_clock_makes_an_entry_live_longer(later_ns: int, later_s: float, lives: bool) -> None:
    kept = entries(entry("e"))
    assert [name for name, _ in near(kept, now_ns=NOW + later_ns, now_at=AT + later_s)] == (["e"] if lives else [])
    kept = entries(entry("e"))
    assert [each.id for each in kept.same_words(look(wording=b"e"), NOW + later_ns, AT + later_s)] == (["e"] if lives else [])
    assert len(kept) == int(lives), "what has expired is forgotten"


def test_a_clock_that_was_set_back_before_gives_no_more_than_the_ttl() -> None:
    kept = Entries(PartitionIndex, 1)
    kept.put(entry("e"), NOW - 50 * TTL, AT)
    assert near(kept, now_ns=NOW - 50 * TTL, now_at=AT + 3599) and not near(kept, now_ns=NOW - 50 * TTL, now_at=AT + 3601)


def test_a_ttl_that_was_shortened_holds_for_what_is_there() -> None:
    kept = entries(entry("e"))
    assert near(kept, look(ttl_s=60), now_ns=NOW + 59 * 10**9) and not near(kept, look(ttl_s=60), now_ns=NOW + 60 * 10**9)


def test_what_has_expired_or_is_known_is_not_taken_in() -> None:
    kept = entries(entry("e"))
    assert not kept.put(entry("e"), NOW, AT) and not kept.put(entry("f"), NOW + TTL, AT)


def test_expired_neighbours_make_room_for_others() -> None:
    old = [entry(f"old{at}", 0.001 * at, expires_ns=NOW + 10) for at in range(12)]
    kept = entries(*old, entry("young", 0.5))
    assert near(kept, now_ns=NOW + 20) == [("young", True)] and len(kept) == 1


def test_users_confirm_each_other_by_answers_that_agree() -> None:
    kept = entries(entry("a", user="ada"), users=3)
    assert [near(kept, look(user=user)) for user in ("ada", "bob", NOBODY)] == [[("a", True)], [("a", False)], [("a", False)]]
    kept.put(entry("b", 0.1, user="bob", alike="a"), NOW, AT)
    assert near(kept, look(user="bob")) == [("a", True), ("b", True)] and near(kept, look(user="cyd")) == [("a", False), ("b", False)]
    kept.put(entry("c", 0.2, user="bob", alike="a"), NOW, AT)
    assert not any(servable for _, servable in near(kept, look(user="cyd"))), "the same user does not count twice"
    kept.put(entry("d", 0.3, user="dan", users=("ada",), alike="a"), NOW, AT)
    assert all(servable for _, servable in near(kept, look(user="cyd")))
    kept.remove("d")
    assert not any(servable for _, servable in near(kept, look(user="cyd")))
    kept.remove("a")
    assert near(kept, look(user="ada")) == [("b", False), ("c", False)], "who is named by no entry any more is forgotten"


def test_people_vouch_and_take_it_back() -> None:
    kept = entries(entry("a", user="ada"), users=2)
    kept.vouch("a", True)
    assert near(kept, look(user="bob")) == [("a", True)]
    kept.vouch("a", False)
    kept.vouch("none", True)
    assert near(kept, look(user="bob")) == [("a", False)]


def test_what_a_person_vouches_for_has_no_end() -> None:
    kept = entries(entry("a"), entry("b", 0.1))
    kept.vouch("a", True)
    late = {"now_ns": NOW + 9 * TTL, "now_at": AT + 9 * 3600}
    assert near(kept, look(ttl_s=60), **late) == [("a", True)]  # type: ignore[arg-type]
    assert [each.id for each in kept.same_words(look(wording=b"a", ttl_s=60), NOW + 9 * TTL, AT)] == ["a"]
    kept.vouch("a", False)
    assert near(kept, **late) == [] and len(kept) == 0, "it has the end that it had before"  # type: ignore[arg-type]


def test_what_a_person_vouches_for_is_taken_in_after_its_time() -> None:
    kept, late_ns = Entries(PartitionIndex, 2), NOW + 2 * TTL
    assert kept.put(entry("a", user="ada", curated=True), late_ns, AT) and not kept.put(entry("b"), late_ns, AT)
    assert near(kept, look(user="bob"), now_ns=late_ns, now_at=AT + 1) == [("a", True)]
    kept.vouch("a", False)
    assert near(kept, look(user="ada"), now_ns=late_ns, now_at=AT + 1) == []


def test_an_answer_is_rewritten_by_another_that_a_person_vouches_for() -> None:
    kept = entries(entry("a", wording=b"w"), entry("b", wording=b"w"), entry("c"))
    assert not any(kept.is_rewritten(each) for each in ("a", "b", "c", "none"))
    kept.vouch("b", True)
    kept.vouch("c", True)
    assert [kept.is_rewritten(each) for each in ("a", "b", "c")] == [True, False, False]


def test_rules_and_complaints_keep_an_entry_from_being_served() -> None:
    kept = entries(entry("a"), entry("b", 0.1, upstream="forbidden"))
    assert near(kept, look(banned="a")) == [("a", False), ("b", False)]


def test_one_wording_has_so_many_entries() -> None:
    kept = entries(*(entry(f"e{at}", wording=b"same") for at in range(SAME_WORDING)))
    assert [each.id for each in kept.same_words(look(wording=b"same"), NOW, AT)] == [f"e{at}" for at in reversed(range(SAME_WORDING))]
    assert kept.crowded(b"same") == "e0"
    kept.remove("e0")
    assert kept.crowded(b"same") is None and kept.crowded(b"other") is None


ACTS = st.lists(st.tuples(st.booleans(), st.integers(0, 15), st.integers(0, 2), st.sampled_from(["ada", "bob", None])), max_size=60)


@given(ACTS)
def test_what_is_taken_out_leaves_nothing(acts: list[tuple[bool, int, int, str | None]]) -> None:
    kept, model = Entries(PartitionIndex, 2), dict[str, tuple[bytes, str | None]]()
    for puts, at, shard, user in acts:
        name, partition = f"e{at}", bytes([shard]) * 16
        if puts:
            assert kept.put(entry(name, 0.1 * at, partition=partition, user=user, alike=f"e{at % 4}"), NOW, AT) is (name not in model)
            model.setdefault(name, (partition, user))
        else:
            kept.remove(name)
            model.pop(name, None)
    for shard in range(3):
        found = {name for name, _ in near(kept, look(bytes([shard]) * 16))}
        there = {name for name, (partition, _) in model.items() if partition == bytes([shard]) * 16}
        assert found <= there and len(found) == min(8, len(there))
    for label in {f"e{at}" for at in range(4)}:
        assert set(kept.users_of(label)) == {user or NOBODY for name, (_, user) in model.items() if f"e{int(name[1:]) % 4}" == label}
    kept.clear()
    assert (len(kept), kept.size) == (0, 0)


def test_all_is_forgotten_at_once_and_given_back_in_small_steps() -> None:
    kept = entries(*(entry(f"e{at}", 0.01 * at, partition=bytes([at]) * 16) for at in range(20)))
    steps = kept.clear()
    assert (len(kept), kept.size) == (0, 0) and kept.get("e1") is None and near(kept, look(bytes(16))) == []
    assert kept.put(entry("e1"), NOW, AT), "who asks meanwhile finds what is there anew"
    assert sum(1 for _ in steps) == 4 * 20, "entries, wordings, partitions and labels, one in a step"
    assert near(kept) == [("e1", True)]
