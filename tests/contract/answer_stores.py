"""Events of the semantic cache, and a process that writes them until it is killed.

`python -m tests.contract.answer_stores URL FOLDER NAME COUNT` appends COUNT batches of an entry with its answer and a piece of evidence,
and says each number once it was acknowledged.
"""

import sys
from itertools import pairwise

from penstock.adapters.answers import open_answers
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.routing.similarity.evidence import Compared, Looked
from penstock.ports.answer_store import AnswerStore, Entry, Event, Evidence, Removal, Told, Used, Vouched
from penstock.ports.cache import CachedAnswer

SCOPE = ("acme",)


def entry(id: str, text: str = "what is a sluice?", at_ns: int = 1_793_000_000_000_000_001, **others: object) -> Entry:
    given = {
        "id": id, "at_ns": at_ns, "expires_ns": at_ns + 10**15, "partition": b"\x00\xff" * 8, "scope": SCOPE, "wording": b"w" * 16,
        "text": text, "vector": b"\x00\x00\x80\x3f" * 4, "embedder": "minilm", "model": "m", "upstream": "u", "tier": None, "user": "ann",
    }  # fmt: skip
    return Entry(**(given | others))  # type: ignore[arg-type]


def evidence(id: str, at_ns: int = 1_793_000_000_000_000_002) -> Evidence:
    compared = (Compared("e1", 0.97, b"\x00\x01\xff", 1.0), Compared("e2", 0.5, b"", 0.25))
    return Evidence(id=id, at_ns=at_ns, partition=b"p" * 16, scope=SCOPE, compared=compared, chosen="e1", risk=0.01, propensity=0.02)


def told(id: str, of: str, at_ns: int = 3) -> Told:
    return Told(id=id, at_ns=at_ns, entry=of, right=False, source="regenerate", risk=0.25)


def used(at_ns: int, worker: str = "w1") -> Used:
    return Used(at_ns=at_ns, worker=worker, served={"e1": 3}, scopes={"acme": Looked(5, 1, 1, 1, 0, 0.004)})


def removal(*entries: str, at_ns: int = 5) -> Removal:
    return Removal(at_ns=at_ns, entries=entries, reason="purged")


def vouched(of: str, at_ns: int = 6, curated: bool = True) -> Vouched:
    return Vouched(at_ns=at_ns, entry=of, curated=curated)


def answer(id: str, body: bytes = b'{"choices":\x00[]}') -> CachedAnswer:
    return CachedAnswer(
        request_id=id, model="m", upstream="u", tier=None, streamed=False, body=body, usage=None, tokens=Tokens(1, 2, 3, 4, 5),
        tokens_estimated=False, finish_reason="stop",
    )  # fmt: skip


def everything(store: AnswerStore, page: int = 1000) -> list[Event]:
    """The log from its beginning, read in pages."""
    found: list[Event] = []
    place = 0
    while some := store.since(place, page):
        assert all(one.place < other.place for one, other in pairwise(some)) and some[0].place > place
        found += [each.event for each in some]
        place = some[-1].place
    return found


def main(url: str, folder: str, name: str, count: int) -> None:
    store = open_answers(url, folder, print)
    for number in range(count):
        id = f"{name}-{number}"
        store.append([entry(id, at_ns=number), evidence(f"{id}-seen")], [(id, answer(id))])
        print(number, flush=True)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
