"""What every index does: one law over brute force alone, a graph from a few rows on, and the change between the two."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.adapters.indexes.partition import PartitionIndex
from penstock.ports.embedder import Vectors
from penstock.ports.vector_index import VectorIndex

DIMENSIONS = 24
Open = Callable[[], VectorIndex]
FORMS: dict[str, Open] = {
    "brute": PartitionIndex,
    "graph": lambda: PartitionIndex(graph_above=0, brute_below=0),
    "both": lambda: PartitionIndex(graph_above=40, brute_below=25),
}


@pytest.fixture(params=FORMS)
def index(request: pytest.FixtureRequest) -> VectorIndex:
    return FORMS[request.param]()


def unit(seed: int, dimensions: int = DIMENSIONS) -> Vectors:
    drawn = np.random.default_rng(seed).standard_normal(dimensions)
    ready: Vectors = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    return ready


def brute(kept: dict[int, Vectors], vector: Vectors, most: int) -> list[tuple[int, float]]:
    found = [(number, float(np.dot(each, vector))) for number, each in kept.items()]
    return sorted(found, key=lambda each: -each[1])[:most]


def same(index: VectorIndex, vector: Vectors) -> int | None:
    """The number of a vector that is in the index as it is."""
    number, similarity = index.search(vector, 1)[0]
    return number if abs(similarity - 1) < 1e-6 else None


def test_an_empty_one_finds_nothing(index: VectorIndex) -> None:
    assert list(index.search(unit(1), 5)) == [] and len(index) == 0


def test_the_nearest_come_first_with_their_cosine(index: VectorIndex) -> None:
    kept = {number: unit(number) for number in range(100)}
    for number, vector in kept.items():
        index.add(number, vector)
    for seed in range(200, 230):
        found, wanted = index.search(unit(seed), 5), brute(kept, unit(seed), 5)
        assert [number for number, _ in found] == [number for number, _ in wanted]
        assert [score for _, score in found] == pytest.approx([score for _, score in wanted], abs=1e-6)


def test_fewer_than_asked_for_are_all_of_them(index: VectorIndex) -> None:
    for number in range(3):
        index.add(number, unit(number))
    assert {number for number, _ in index.search(unit(9), 5)} == {0, 1, 2}
    assert list(index.search(unit(9), 0)) == []


def test_what_was_removed_is_not_found(index: VectorIndex) -> None:
    for number in range(60):
        index.add(number, unit(number))
    for number in (59, 0, 30, 31, 777):
        index.remove(number)
    assert len(index) == 56
    assert index.search(unit(30), 1)[0][0] not in {59, 0, 30, 31}
    index.add(30, unit(30))
    assert same(index, unit(30)) == 30


def test_the_later_vector_of_a_number_stands(index: VectorIndex) -> None:
    for number in range(60):
        index.add(number, unit(number))
    index.add(7, unit(500))
    assert len(index) == 60
    assert same(index, unit(500)) == 7
    assert index.search(unit(7), 1)[0][0] != 7


def test_equal_vectors_are_all_kept(index: VectorIndex) -> None:
    for number in range(60):
        index.add(number, unit(number % 20))
    assert [number for number, _ in index.search(unit(3), 3)] == [3, 23, 43]


@pytest.mark.parametrize(
    "vector",
    [unit(1, DIMENSIONS + 1), 2 * unit(1), 0 * unit(1), np.full(DIMENSIONS, np.nan, np.float32), unit(1).reshape(1, -1), unit(1)[:0]],
    ids=["dimensions", "length", "zero", "nan", "matrix", "empty"],
)
def test_other_vectors_are_refused_and_change_nothing(index: VectorIndex, vector: Vectors) -> None:
    for number in range(60):
        index.add(number, unit(number))
    with pytest.raises(ValueError, match="vector"):
        index.add(5, vector)
    with pytest.raises(ValueError, match="vector"):
        index.search(vector, 5)
    assert len(index) == 60 and same(index, unit(5)) == 5


def test_a_caller_may_reuse_its_array(index: VectorIndex) -> None:
    mine = unit(1).copy()
    index.add(1, mine)
    mine[:] = unit(2)
    assert same(index, unit(1)) == 1


@settings(max_examples=40, stateful_step_count=60)
class Machine(RuleBasedStateMachine):
    """Adding, replacing and removing across the sizes at which a graph comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.index, self.kept = FORMS["both"](), dict[int, Vectors]()

    @rule(first=st.integers(0, 90), count=st.integers(1, 30))
    def add(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.kept[number] = unit(number + 1000 * len(self.kept))
            self.index.add(number, self.kept[number])

    @rule(first=st.integers(0, 120), count=st.integers(1, 30))
    def remove(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.kept.pop(number, None)
            self.index.remove(number)

    @rule(seed=st.integers(10**6, 10**6 + 1000))
    def search(self, seed: int) -> None:
        found, wanted = self.index.search(unit(seed), 4), brute(self.kept, unit(seed), 4)
        assert [number for number, _ in found] == [number for number, _ in wanted]

    @invariant()
    def as_many(self) -> None:
        assert len(self.index) == len(self.kept)


test_any_order_of_calls = Machine.TestCase


@given(st.lists(st.integers(0, 30), max_size=80))
def test_bytes_grow_with_what_is_held(numbers: list[int]) -> None:
    index, before = PartitionIndex(), 0
    for number in numbers:
        known = len(index)
        index.add(number, unit(number))
        assert index.bytes > before if len(index) > known else index.bytes == before
        before = index.bytes
