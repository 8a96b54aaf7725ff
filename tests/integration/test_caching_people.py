"""What people do with the cache: they find entries, purge and pin them, write answers of their own, and ask why one was served."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import orjson
import pytest

from penstock import bootstrap
from penstock.config.load import parse
from penstock.domain.dialects.chat.assembling import disassemble
from penstock.domain.dialects.forms import complete_answer, events_of, whole_of
from penstock.domain.dialects.sse import split_events
from penstock.domain.dialects.streams import Native
from penstock.domain.dialects.tokens import NO_TOKENS
from penstock.domain.ledger.record import CacheDecision, UsageRecord
from penstock.finops.audit import entry_json
from penstock.finops.caching import changing
from penstock.finops.caching.explaining import why_cached
from penstock.finops.caching.finding import FindError, Wanted, age_words, found, kept_json, one
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.replacing import with_text
from penstock.ports.answer_store import Entry, Removal, Used
from penstock.ports.audit_log import AuditLog
from penstock.ports.cache import CachedAnswer
from tests.integration.test_caching_feedback import CONFIG
from tests.integration.test_caching_log import HOUR, NS, T0, MemoryAnswers, answer, entry, log_of

MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Paris."}],
    "usage": {"input_tokens": 9, "output_tokens": 3},
}  # fmt: skip
RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None, "incomplete_details": None, "model": "m",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {"id": "m_1", "type": "message", "role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "Paris.", "annotations": []}]},
    ],
    "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
}  # fmt: skip
CHAT: dict[str, Any] = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}, "logprobs": None}],
}  # fmt: skip
TEXT = {
    "id": "c",
    "object": "text_completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "text": "Paris."}],
}
USAGE = b'{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}'


def kept(body: bytes, streamed: bool = False, usage: bytes | None = None) -> CachedAnswer:
    return CachedAnswer(
        request_id="r", model="small", upstream="gpu", tier=None, streamed=streamed, body=body, usage=usage, tokens=NO_TOKENS,
        tokens_estimated=False,
    )  # fmt: skip


def streams() -> list[tuple[str, CachedAnswer]]:
    """Each answer whole and, where a stream of it can be made, as a stream."""
    found = [
        (name, kept(orjson.dumps(body))) for name, body in (("chat", CHAT), ("text", TEXT), ("messages", MESSAGE), ("responses", RESPONSE))
    ]
    for name, body in (("chat", CHAT), ("text", TEXT)):
        events = disassemble(orjson.dumps(body))
        assert events is not None
        found.append((f"{name} streamed", kept(b"".join(events), True, USAGE)))
    for dialect, body in (("messages", MESSAGE), ("responses", RESPONSE)):
        native: Native = dialect  # type: ignore[assignment]
        events = events_of(native, body)
        if events is not None:
            found.append((f"{dialect} streamed", kept(b"".join(events), True)))
    return found


def text_in(body: Any) -> str:
    if "choices" in body:
        choice = body["choices"][0]
        return str(choice["text"] if "text" in choice else choice["message"]["content"])
    parts = body["content"] if "content" in body else body["output"][0]["content"]
    assert len(parts) == 1
    return str(parts[0]["text"])


@pytest.mark.parametrize(("name", "given"), streams(), ids=[name for name, _ in streams()])
def test_a_person_s_text_takes_the_answer_s_place_in_its_form(name: str, given: CachedAnswer) -> None:
    written = with_text(given, "Lyon, since 2026 \u2014 \u201cofficially\u201d.")
    assert written is not None and not written.streamed
    body = orjson.loads(written.body)
    assert text_in(body) == "Lyon, since 2026 \u2014 \u201cofficially\u201d."
    assert b"Paris" not in written.body
    dialect = name.partition(" ")[0]
    if dialect in get_args(Native):
        native: Native = dialect  # type: ignore[assignment]
        assert complete_answer(native, body)
        events = events_of(native, body)
        assert events is not None and text_in(whole_of(native, events)) == text_in(body)
    else:
        assert disassemble(written.body) is not None
        assert ("usage" in body) == given.streamed


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"not json",
        orjson.dumps(CHAT | {"choices": [*CHAT["choices"], *CHAT["choices"]]}),
        orjson.dumps(CHAT | {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}}]}),
        orjson.dumps(MESSAGE | {"content": [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]}),
        orjson.dumps(RESPONSE | {"output": [{"type": "function_call", "name": "f"}]}),
        orjson.dumps(RESPONSE | {"output": []}),
    ],
)  # fmt: skip
def test_what_is_no_plain_text_keeps_its_answer(body: bytes) -> None:
    assert with_text(kept(body), "mine") is None


def test_a_stream_that_says_nothing_keeps_its_answer() -> None:
    assert split_events(b"data: {}\n\n")[0]
    assert with_text(kept(b"data: {}\n\n", True), "mine") is None


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    settings = parse(CONFIG.format(folder=tmp_path), {})
    bootstrap.open_store(settings).close()
    return bootstrap.open_audit(settings)


@pytest.fixture
def answers() -> MemoryAnswers:
    store = MemoryAnswers()
    entries = [
        entry("req_france1", text="What is the capital of France?", tags={"feature": "chat"}, user="anna", users=("ben",)),
        entry("req_france2", text="capital of  FRANCE", tags={"feature": "search"}, model="large"),
        entry("req_spain", text="Which city is Spain's capital?", scope=("tenant=beta", "locale=en"), user=None, worth=None),
    ]
    store.append(entries, [(each.id, answer(each.id)) for each in entries])
    return store


@pytest.fixture
def log(answers: MemoryAnswers) -> AnswerLog:
    log = log_of(answers, whole=True)
    log.follow()
    return log


def ids(log: AnswerLog, **wanted: Any) -> Sequence[str]:
    return [each.id for each in found(log.standing, Wanted(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"text": "capital of france"}, ["req_france1", "req_france2"]),
        ({"text": "france capital"}, ["req_france1", "req_france2"]),
        ({"text": "the capital of France?"}, ["req_france1"]),
        ({"text": "cap"}, ["req_france1", "req_france2", "req_spain"]),
        ({"text": "germany"}, []),
        ({"where": {"feature": "search"}}, ["req_france2"]),
        ({"where": {"model": "large", "upstream": "gpu"}}, ["req_france2"]),
        ({"where": {"user": "anna", "feature": "chat"}}, ["req_france1"]),
        ({"where": {"cost-center": "7"}}, []),
        ({"ids": ("req_franc",)}, ["req_france1", "req_france2"]),
        ({"ids": ("req_f",)}, []),
        ({"ids": ("req_spain", "req_france1")}, ["req_france1", "req_spain"]),
        ({"scope": "tenant=beta"}, ["req_spain"]),
        ({"scope": "tenant=beta locale=en"}, ["req_spain"]),
        ({"scope": "tenant"}, []),
        ({"model": "small", "text": "france"}, ["req_france1"]),
        ({}, ["req_france1", "req_france2", "req_spain"]),
    ],
)
def test_entries_are_found_by_what_is_known_of_them(log: AnswerLog, wanted: dict[str, Any], expected: list[str]) -> None:
    assert ids(log, **wanted) == expected


def test_one_entry_is_named_by_enough_of_its_id(log: AnswerLog) -> None:
    assert one(log.standing, "req_spai").id == "req_spain"
    with pytest.raises(FindError, match="2 entries") as problem:
        one(log.standing, "req_france")
    assert "req_france1" in problem.value.hint
    for unknown in ("req_x", "req_nowhere"):
        with pytest.raises(FindError, match="no entry"):
            one(log.standing, unknown)


def test_an_entry_in_the_words_of_commands(log: AnswerLog) -> None:
    told = kept_json(one(log.standing, "req_france1"), T0 + 2 * HOUR)
    assert (told["question"], told["users"], told["worth_usd"], told["age_s"]) == ("What is the capital of France?", 2, "0.000001000", 7200)
    assert kept_json(one(log.standing, "req_spain"), T0)["worth_usd"] is None


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (0, "0 s"),
        (59 * NS, "59 s"),
        (60 * NS, "1 min"),
        (5 * HOUR, "5 h"),
        (5 * HOUR + 90 * NS, "5 h 1 min"),
        (50 * HOUR, "2 d 2 h"),
        (-5, "0 s"),
    ],
)
def test_ages_in_words(ns: int, words: str) -> None:
    assert age_words(ns) == words


def test_purging_takes_out_and_is_written_down(log: AnswerLog, answers: MemoryAnswers, audit: AuditLog) -> None:
    wanted = Wanted(where={"feature": "chat"})
    changing.purge(log, audit, found(log.standing, wanted), wanted, "cli:anna", T0 + 1)
    assert set(log.standing.kept) == {"req_france2", "req_spain"}
    assert set(answers.answers) == {"req_france2", "req_spain"}
    (noted,) = map(entry_json, audit.since())
    assert (noted["actor"], noted["action"], noted["subject"]) == ("cli:anna", "cache.purge", "1 entry")
    assert noted["details"] == {"entries": 1, "asked": {"where": {"feature": "chat"}}, "ids": ["req_france1"]}


def test_pinning_and_letting_go(log: AnswerLog, answers: MemoryAnswers, audit: AuditLog) -> None:
    log.append([Used(at_ns=T0 + 9, worker="w", served={"req_spain": 4})])
    log.follow()
    for at_ns, curated in ((T0, True), (T0 + 1, False), (T0 + 2, True), (T0 + 3, False)):
        changing.vouch(log, audit, one(log.standing, "req_spain"), curated, "cli:anna", at_ns)
        target = one(log.standing, "req_spain")
        assert (target.curated, target.expired(T0 + 99 * HOUR), target.served, target.used_ns) == (curated, not curated, 4, T0 + 9)
        (entry,) = (each.event for each in answers.log if isinstance(each.event, Entry) and each.event.id == "req_spain")
        assert (entry.curated, len(entry.vector or b"")) == (curated, 1536), "who reads the log anew meets it so"
    assert "req_spain" in answers.answers
    assert [each.action for each in audit.since()] == ["cache.unpin", "cache.pin"] * 2
    assert "question" not in str(audit.since()), "what was asked is nobody's to read in the audit log"


def test_a_person_s_own_answer_is_another_entry_for_the_same_question(log: AnswerLog, answers: MemoryAnswers, audit: AuditLog) -> None:
    before = log.entry("req_france1")
    assert before is not None
    id = changing.pin_answer(log, audit, one(log.standing, "req_france1"), "Paris, of course.", "cli:anna", T0 + 5)
    put = log.entry(id)
    assert put is not None
    assert (put.curated, put.text, put.vector, put.wording, put.partition) == (
        True,
        before.text,
        before.vector,
        before.wording,
        before.partition,
    )
    assert put.expires_ns - put.at_ns == before.expires_ns - before.at_ns
    assert "req_france1" not in log.standing.kept and "req_france1" not in answers.answers
    assert orjson.loads(answers.answers[id].body)["choices"][0]["message"]["content"] == "Paris, of course."
    assert answers.answers[id].request_id == id
    assert audit.since()[0].details["replaced"] == "req_france1"
    (gone,) = (each.event for each in answers.log if isinstance(each.event, Removal))
    assert gone.reason == "wrong", "no worker that has just begun replays it from the exact cache"


def test_an_answer_that_is_gone_or_no_text_is_not_replaced(log: AnswerLog, answers: MemoryAnswers, audit: AuditLog) -> None:
    target = one(log.standing, "req_france1")
    answers.answers["req_france1"] = msgspec.structs.replace(answers.answers["req_france1"], body=b"{}")
    with pytest.raises(FindError, match="no plain text"):
        changing.pin_answer(log, audit, target, "mine", "cli:anna", T0)
    del answers.answers["req_france1"]
    with pytest.raises(FindError, match="gone"):
        changing.pin_answer(log, audit, target, "mine", "cli:anna", T0)
    assert set(log.standing.kept) == {"req_france1", "req_france2", "req_spain"}
    assert not audit.since()


def record(told: CacheDecision | None, **fields: Any) -> UsageRecord:
    given: dict[str, Any] = {"admitted_ns": T0 + 2 * HOUR, "endpoint": "chat.completions", "status": 200, "outcome": "ok"}
    return UsageRecord(id="req_new", cache_decision=told, **given | fields)


SOURCE = UsageRecord(
    id="req_old", admitted_ns=T0, endpoint="chat.completions", status=200, outcome="ok", model="small", tags={"user": "anna"}, key_id="k1"
)


def lines(told: CacheDecision | None, source: UsageRecord | None = SOURCE, **fields: Any) -> dict[str, str]:
    return {each.about: each.text for each in why_cached(record(told, **fields), source)}


def test_why_an_answer_was_served() -> None:
    told = CacheDecision("served", "learned", "req_old", 0.9712, 0.004, 0.012, 0.98, embedding_us=3100)
    assert lines(told, cache="semantic", cache_source="req_old", embedding_cost=2000) == {
        "by meaning": "served: the entry below means the same, mode learned",
        "entry": "the answer of request req_old, 2 h before, by user anna, key k1, from small",
        "similarity": "0.9712 (cosine)",
        "guards": "no difference in numbers, negation, names and the like",
        "risk": "0.4 % that the answer is another one, at most 1.2 % was served",
        "chance": "98 % of such requests are answered so, the others ask the model to measure",
        "embedding": "3.1 ms, 0.000002000 USD",
    }


def test_why_an_answer_was_not_served() -> None:
    refused = lines(CacheDecision("refused", "zero-trust", "req_old", 0.97, 0.3, 0.95, 0.0, ("numbers", "negation")))
    assert refused["by meaning"] == "not served: what was nearest is not near enough, mode zero-trust"
    assert refused["guards"] == "differ in numbers, negation"
    assert refused["similarity"] == "0.9700 (cosine), at least 0.95 is asked for"
    assert "chance" not in refused and "risk" not in refused, "zero-trust serves by similarity"
    assert lines(CacheDecision("unfit", "learned", reason="tools"))["by meaning"] == "never answered by meaning: tools, mode learned"
    away = lines(CacheDecision("unavailable", "learned", reason="the embedder did not answer in time"))
    assert away == {"by meaning": "could not be looked up: the embedder did not answer in time, mode learned"}
    assert "nothing near it" in lines(CacheDecision("nothing", "learned"))["by meaning"]
    assert lines(None) == {}


def test_what_would_have_been_served() -> None:
    watching = lines(CacheDecision("probe", "shadow", "req_old", 0.99, 0.01, 0.95, 0.98), would_cache="semantic")
    assert watching["by meaning"] == "sent to the model, though it could have been served: nothing is served by meaning, mode shadow"
    assert watching["would have been"] == "answered from the cache (semantic)"
    assert "chance" not in watching
    probed = lines(CacheDecision("probe", "learned", "req_old", 0.99, 0.01, 0.02, 0.98), would_cache="semantic")
    assert "it is measured how often the cache is wrong" in probed["by meaning"]


def test_the_same_words_need_no_similarity() -> None:
    told = CacheDecision("served", "zero-trust", "req_old")
    assert set(lines(told, cache="normalised")) == {"by meaning", "entry"}
    assert lines(told, None, cache="normalised")["entry"] == "the answer of request req_old, which is not in the ledger any more"
    pinned = why_cached(record(CacheDecision("served", "zero-trust", "pin_1"), cache="normalised"), None)
    assert (pinned[1].text, pinned[1].request) == ("pin_1, whose answer a person wrote", None)
    assert "risk" not in lines(CacheDecision("served", "learned", "pin_1", 0.98, 1.0, 0.01, 1.0), None, cache="semantic")
