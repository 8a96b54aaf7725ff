"""What callers say of answers: kept once per request and caller, told to the cache once per verdict, and only of their own requests."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import bootstrap
from penstock.bootstrap.answers import open_feedback
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.ledger.record import CacheDecision, UsageRecord
from penstock.finops.caching.feedback import KIND, FeedbackDesk, NotYours, Rating
from penstock.finops.caching.following import AnswerLog
from penstock.ports.answer_store import AnswerStoreError, Removal, Told, Vouched
from penstock.ports.key_store import ApiKey, fingerprint
from penstock.ports.usage_store import Intake
from tests.integration.test_caching_log import NS, SCOPE, T0, MemoryAnswers, entry, log_of

CONFIG = """
version = 1
[server]
store = "sqlite:///{folder}/ledger.db"
journal = "{folder}/journal"
[upstreams.gpu]
base_urls = ["http://127.0.0.1:9/v1"]
[models.small]
upstream = "gpu"
price = {{ input = 1, output = 2 }}
"""


def key(id: str, **fields: Any) -> ApiKey:
    return ApiKey(id=id, prefix="psk_", sha256=fingerprint(id), created_ns=T0, **fields)


ANNA, OTHER = key("k1"), key("k2")
NEXT = key("k3", account="k1", replaces="k1")
ACME, ACME_TOO = key("k4", tags={"tenant": "acme"}), key("k5", tags={"tenant": "acme"})


def record(id: str, of: ApiKey | None = None, cache: Any = "miss", found: str | None = None, **fields: Any) -> UsageRecord:
    decision = CacheDecision("served", "learned", entry=found, similarity=0.97, risk=0.004) if found else None
    return UsageRecord(
        id=id, admitted_ns=T0, endpoint="chat.completions", status=200, outcome="ok", model="small", cache=cache, cache_source=found,
        cache_decision=decision, key_id=of.id if of is not None else None, **fields,
    )  # fmt: skip


RECORDS = [
    record("req_miss", ANNA),
    record("req_hit", ANNA, "semantic", "a"),
    record("req_words", ANNA, "normalised", "b"),
    msgspec.structs.replace(record("req_exact", ANNA, "exact"), cache_source="req_miss"),
    msgspec.structs.replace(record("req_again", ANNA, "exact"), cache_source="req_unkept"),
    record("req_keyless"),
    record("req_tenant", ACME),
    record("req_gone", key("deleted")),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = parse(CONFIG.format(folder=tmp_path), {})
    store = bootstrap.open_store(settings)
    store.take_in(Intake(records=RECORDS, opened=[], settled=[], offsets={}))
    store.close()
    for each in (ANNA, OTHER, NEXT, ACME, ACME_TOO):
        bootstrap.open_keys(settings).add(each)
    return settings


@pytest.fixture
def answers() -> MemoryAnswers:
    store = MemoryAnswers()
    store.append([entry("a"), entry("b"), entry("req_miss")])
    return store


@pytest.fixture
def log(answers: MemoryAnswers) -> Iterator[AnswerLog]:
    log = log_of(answers)
    yield log
    log.close()


@pytest.fixture
def desk(settings: Settings, log: AnswerLog) -> FeedbackDesk:
    return open_feedback(settings, log)


def down(id: str, **more: Any) -> Rating:
    return Rating(request_id=id, rating="down", **more)


def told(answers: MemoryAnswers) -> list[Any]:
    """What was said to the cache since its entries were put."""
    return [each.event for each in answers.log if isinstance(each.event, Told | Removal)]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"rating": "up"}, 1.0),
        ({"rating": "down"}, 0.0),
        ({"rating": 1}, 1.0),
        ({"rating": -1}, 0.0),
        ({"score": 0.25}, 0.25),
        ({"score": 1}, 1.0),
    ],
)
def test_ways_to_say_how_good_an_answer_was(given: dict[str, Any], value: float) -> None:
    assert msgspec.json.decode(json.dumps({"request_id": "r", **given}), type=Rating).value == value


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rating": "up", "score": 1},
        {"rating": "good"},
        {"rating": 0},
        {"score": 1.1},
        {"score": -0.1},
        {"rating": "up", "stars": 5},
        {"rating": True},
    ],
)
def test_what_is_no_rating_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps({"request_id": "r", **given}), type=Rating)


def test_a_wrong_answer_is_told_to_the_cache_and_its_entry_goes(desk: FeedbackDesk, answers: MemoryAnswers, log: AnswerLog) -> None:
    heard = desk.give(down("req_hit", comment="that is another product"), ANNA, T0 + 5)
    assert (heard.entry, heard.removed, heard.said.score, heard.said.comment) == ("a", True, 0.0, "that is another product")
    assert told(answers) == [
        Told(id="req_hit", at_ns=T0 + 5, entry="a", right=False, source="feedback", risk=0.004, scope=SCOPE),
        Removal(at_ns=T0 + 5, entries=("a",), reason="wrong"),
    ]
    log.follow()
    assert set(log.standing.kept) == {"b", "req_miss"}


def test_the_same_said_again_changes_nothing(desk: FeedbackDesk, answers: MemoryAnswers, settings: Settings) -> None:
    desk.give(down("req_words"), ANNA, T0)
    first = told(answers)
    assert desk.give(down("req_words", comment="again"), ANNA, T0 + 9).entry == "b"
    assert desk.give(down("req_words"), NEXT, T0 + 10).entry == "b", "a rotated key is the same caller"
    assert told(answers) == first
    (document,) = bootstrap.open_documents(settings).since(KIND)
    assert document.id == "req_words/key=k1"


def test_a_mind_may_be_changed_and_each_verdict_teaches_once(desk: FeedbackDesk, answers: MemoryAnswers, settings: Settings) -> None:
    for rating in ("up", "down", "up", "down"):
        desk.give(Rating(request_id="req_hit", rating=rating), ANNA, T0)
    assert [each.right for each in told(answers) if isinstance(each, Told)] == [True, False]
    (document,) = bootstrap.open_documents(settings).since(KIND)
    assert json.loads(document.body)["score"] == 0.0


def test_an_undecided_score_is_kept_and_teaches_nothing(desk: FeedbackDesk, answers: MemoryAnswers) -> None:
    assert not desk.give(Rating(request_id="req_hit", score=0.5), ANNA, T0).removed
    assert told(answers) == []


def test_what_a_person_vouches_for_stays(desk: FeedbackDesk, answers: MemoryAnswers, log: AnswerLog) -> None:
    answers.append([Vouched(at_ns=T0, entry="a", curated=True)])
    assert not desk.give(down("req_hit"), ANNA, T0).removed
    assert [type(each) for each in told(answers)] == [Told]
    assert log.standing.kept["a"].curated


def test_an_answer_that_its_own_asker_calls_wrong_is_not_replayed(desk: FeedbackDesk, answers: MemoryAnswers) -> None:
    heard = desk.give(down("req_miss"), ANNA, T0)
    assert (heard.entry, heard.removed) == (None, True)
    assert told(answers) == [Removal(at_ns=T0, entries=("req_miss",), reason="wrong")]


@pytest.mark.parametrize(("request_id", "source", "removed"), [("req_exact", "req_miss", True), ("req_again", "req_unkept", False)])
def test_an_exact_replay_says_nothing_of_meaning_but_ends(
    desk: FeedbackDesk, answers: MemoryAnswers, request_id: str, source: str, removed: bool
) -> None:
    heard = desk.give(down(request_id), ANNA, T0)
    assert (heard.entry, heard.removed) == (None, removed)
    assert told(answers) == [Removal(at_ns=T0, entries=(source,), reason="wrong")]
    assert not desk.give(down(request_id), ANNA, T0).removed
    assert not desk.give(Rating(request_id=request_id, rating="up"), ANNA, T0).removed
    assert not [each for each in told(answers) if isinstance(each, Told)]


def test_what_is_told_of_an_entry_that_is_gone_names_no_scope(desk: FeedbackDesk, answers: MemoryAnswers) -> None:
    desk.give(down("req_hit"), ANNA, T0)
    desk.give(Rating(request_id="req_hit", rating="up"), ANNA, T0)
    assert [each.scope for each in told(answers) if isinstance(each, Told)] == [SCOPE, ()]


@pytest.mark.parametrize(
    ("request_id", "caller", "may"),
    [
        ("req_hit", ANNA, True), ("req_hit", NEXT, True), ("req_hit", OTHER, False), ("req_hit", None, False), ("req_keyless", None, True),
        ("req_keyless", ANNA, False), ("req_tenant", ACME_TOO, True), ("req_tenant", ANNA, False), ("req_never", ANNA, False),
        ("req_gone", None, False), ("req_gone", ANNA, False),
    ],
)  # fmt: skip
def test_only_own_requests_can_be_rated(
    desk: FeedbackDesk, answers: MemoryAnswers, settings: Settings, request_id: str, caller: ApiKey | None, may: bool
) -> None:
    if may:
        assert desk.give(down(request_id), caller, T0).said.request_id == request_id
        return
    with pytest.raises(NotYours):
        desk.give(down(request_id), caller, T0)
    assert told(answers) == []
    assert not bootstrap.open_documents(settings).since(KIND)


def test_a_rating_that_the_cache_could_not_hear_may_be_sent_again(desk: FeedbackDesk, answers: MemoryAnswers, settings: Settings) -> None:
    answers.away = True
    with pytest.raises(AnswerStoreError):
        desk.give(down("req_hit"), ANNA, T0)
    (kept,) = bootstrap.open_documents(settings).since(KIND)
    assert json.loads(kept.body)["taught"] == []
    answers.away = False
    assert desk.give(down("req_hit"), ANNA, T0 + NS).removed
    assert len(told(answers)) == 2


def test_said_from_many_places_at_once_it_is_heard_once(desk: FeedbackDesk, answers: MemoryAnswers) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: desk.give(Rating(request_id="req_words", rating="up"), ANNA, T0 + n), range(4)))
    assert len(told(answers)) == 1


def test_without_the_cache_it_is_kept(settings: Settings) -> None:
    heard = open_feedback(settings, None).give(down("req_hit"), ANNA, T0)
    assert not heard.removed
    assert len(bootstrap.open_documents(settings).since(KIND)) == 1
