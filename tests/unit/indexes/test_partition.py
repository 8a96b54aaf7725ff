"""Indexes of the size that matters: what a graph finds, that it is built bit by bit, and that the memory is what it says."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bench.semindex import ENVIRON, asked, clustered
from penstock.adapters.indexes.partition import BRUTE_BELOW, GRAPH_ABOVE, PUT_WITH_ADD, PUT_WITH_SEARCH, PartitionIndex
from penstock.ports.embedder import Vectors

SMALL = 64
"""dimensions: enough for clusters, and quick"""


def filled(vectors: Vectors, index: PartitionIndex) -> PartitionIndex:
    for number, vector in enumerate(vectors):
        index.add(number, vector)
    return index


def recalls(index: PartitionIndex, kept: dict[int, Vectors], queries: Vectors) -> tuple[float, float]:
    """Shares of the nearest, and of the five nearest, that are found."""
    everything = np.stack(list(kept.values()))
    first, five = 0, 0
    for query in queries:
        best = np.sort(np.vecdot(everything, query))[::-1]
        found = [score for _, score in index.search(query, 5)]
        first += found[0] >= best[0] - 1e-5
        five += sum(score >= best[4] - 1e-5 for score in found)
    return first / len(queries), five / (5 * len(queries))


def test_a_graph_finds_the_nearest_also_when_half_was_removed() -> None:
    vectors = clustered(12_000, SMALL)
    index, kept = filled(vectors, PartitionIndex(graph_above=1_000, brute_below=500)), dict(enumerate(vectors))
    queries = asked(vectors, 300)
    assert min(recalls(index, kept, queries)) >= 0.97 and recalls(index, kept, queries)[0] >= 0.99
    for number in range(0, 12_000, 2):
        index.remove(number)
        del kept[number]
    assert recalls(index, kept, queries)[0] >= 0.98


def test_the_graph_begins_and_ends_at_two_sizes_apart() -> None:
    assert BRUTE_BELOW < GRAPH_ABOVE <= 10_000
    vectors = clustered(120, SMALL)
    index = filled(vectors, PartitionIndex(graph_above=100, brute_below=80))
    graphed = index.bytes
    for number in range(35):
        index.remove(number)
    assert len(index) == 85 and index.bytes > 85 * (graphed / 120)
    for number in range(35, 45):
        index.remove(number)
    assert index.bytes < 80 * (graphed / 120)


def test_no_call_puts_more_than_a_few_rows_into_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[int] = []
    monkeypatch.setattr("penstock.adapters.indexes.graph.Graph.add", lambda self, number, vector: put.append(number))
    vectors = clustered(400, SMALL)
    index = filled(vectors[:300], PartitionIndex(graph_above=300))
    for number in range(300, 400):
        before = len(put)
        index.add(number, vectors[number])
        assert len(put) - before <= PUT_WITH_ADD
    before = len(put)
    index.search(vectors[0], 5)
    assert len(put) == before + PUT_WITH_SEARCH and len(set(put)) == len(put)


MEMORY = """
import json, os, sys
from bench.rig import rss_mb
from bench.semindex import clustered
from penstock.adapters.indexes.partition import PartitionIndex
vectors = clustered(8_000, 384)
PartitionIndex(graph_above=1).add(0, vectors[0])
before = rss_mb(os.getpid())
index = PartitionIndex(graph_above=int(sys.argv[1]))
for number, vector in enumerate(vectors):
    index.add(number, vector)
print(json.dumps([rss_mb(os.getpid()) - before, index.bytes / 2**20]))
"""


@pytest.mark.parametrize("graph_above", [1_000, 10**6], ids=["graph", "brute"])
def test_the_memory_is_what_it_says(graph_above: int) -> None:
    command, environ = [sys.executable, "-c", MEMORY, str(graph_above)], {**os.environ, **ENVIRON, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    grown, said = json.loads(told)
    assert said == pytest.approx(grown, rel=0.15)
