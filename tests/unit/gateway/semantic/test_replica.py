"""What the log says, taken into memory: large removals a bounded piece at a time."""

import time

from penstock.adapters.indexes.partition import PartitionIndex
from penstock.config.caching import SemanticCache
from penstock.gateway.semantic.entries import Entries
from penstock.gateway.semantic.replica import AT_A_STEP, Replica
from penstock.gateway.semantic.scopes import Scopes
from penstock.gateway.semantic.shelf import Shelf
from penstock.gateway.semantic.withdrawn import Withdrawn
from penstock.ports.answer_store import Entry, Numbered, Removal
from tests.integration.semantic_rig import StoreInMemory

COUNT = 4 * AT_A_STEP + 1
FAILED = list[tuple[str, Exception]]()


def filled() -> tuple[Replica, Entries, Withdrawn]:
    entries, withdrawn = Entries(PartitionIndex, 1), Withdrawn(3600.0)
    replica = Replica(
        entries, Shelf(StoreInMemory), Scopes(SemanticCache()), withdrawn, lambda where, problem: FAILED.append((where, problem))
    )
    now_ns = time.time_ns()
    for at in range(COUNT):
        replica.take(
            Entry(
                id=f"e{at}", at_ns=now_ns, expires_ns=now_ns + 10**12, partition=b"p" * 16, scope=("s",), wording=b"%d" % at, text="x",
                vector=None, embedder=None, model="m", upstream="u", tier=None, user=None,
            )
        )  # fmt: skip
    assert len(entries) == COUNT
    return replica, entries, withdrawn


def test_a_large_removal_goes_a_piece_at_a_time() -> None:
    replica, entries, withdrawn = filled()
    steps = replica.read(Numbered(1, Removal(at_ns=1, entries=tuple(f"e{at}" for at in range(COUNT)), reason="purged")))
    left = list[int]()
    for _ in steps:
        left.append(len(entries))
    assert left == [COUNT - AT_A_STEP * step for step in range(1, 5)] + [0]
    assert all(withdrawn.has(f"e{at}", time.monotonic()) for at in range(COUNT)) and FAILED == []


def test_own_removals_are_taken_in_at_once() -> None:
    replica, entries, withdrawn = filled()
    replica.take(Removal(at_ns=1, entries=tuple(f"e{at}" for at in range(COUNT)), reason="evicted"))
    assert len(entries) == 0 and not withdrawn.has("e0", time.monotonic()), "what only made room may be replayed"


def test_another_log_finds_nothing_of_the_old_one() -> None:
    replica, entries, _ = filled()
    steps = replica.clear()
    assert len(entries) == 0
    assert sum(1 for _ in steps) >= COUNT
