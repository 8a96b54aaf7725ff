"""The cache by meaning in the demo's thirty days: what the ledger and the log tell of it is the same, and both are of the real laws."""

from collections import Counter

import msgspec
import orjson

from penstock.demo.answering import Log
from penstock.demo.calendar import CACHE_DAY, Calendar
from penstock.demo.faq import topics
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.routing.similarity.answers import answer_text
from penstock.domain.routing.similarity.decision import Decider
from penstock.domain.routing.similarity.evidence import Looked
from penstock.finops.caching.measuring import probe_of
from penstock.finops.caching.standing import Standing
from penstock.ports.answer_store import Entry, Evidence, Numbered, Used
from tests.unit.demo.made import UNTIL_NS, answered, history, meant, task

BEGIN_NS = Calendar(UNTIL_NS).start_ns(CACHE_DAY)


def chats() -> list[UsageRecord]:
    return [record for record in answered()[0] if record.tags.get("feature") == "chat" and record.admitted_ns >= BEGIN_NS]


def log() -> Log:
    return answered()[1]


def of(kind: type[Entry] | type[Evidence] | type[Used]) -> list[object]:
    return [event for event in log().events if isinstance(event, kind)]


def test_the_same_seed_makes_the_same_history_and_log() -> None:
    assert answered.__wrapped__() == answered()


def test_before_its_day_and_beside_the_chat_nothing_is_looked_at() -> None:
    others = [record for record in answered()[0] if record.tags.get("feature") != "chat" or record.admitted_ns < BEGIN_NS]
    assert all(record.cache_decision is None and record.cache in ("miss", "exact", "bypass") for record in others)
    assert len(answered()[0]) - len(history()) < 0.05 * len(history())


def test_the_log_tells_what_the_ledger_tells() -> None:
    looked = Looked()
    for event in of(Used):
        assert isinstance(event, Used)
        [more] = event.scopes.values()
        looked = Looked(*(a + b for a, b in zip(msgspec.structs.astuple(looked), msgspec.structs.astuple(more), strict=True)))
    caches = Counter(record.cache for record in chats())
    assert (looked.normalised, looked.semantic) == (caches["normalised"], caches["semantic"])
    assert looked.exact == caches["exact"] and min(looked.normalised, looked.semantic, looked.probes) > 0
    assert looked.requests == sum(record.cache_decision is not None or record.cache == "exact" for record in chats()) + caches["bypass"]
    assert looked.probes == sum(record.would_cache == "semantic" for record in chats())


def test_what_was_served_is_replayed_from_an_earlier_answer_and_costs_nothing() -> None:
    by_id = {record.id: record for record in answered()[0]}
    for record in chats():
        if record.cache in ("normalised", "semantic"):
            source, decision = by_id[record.cache_source or ""], record.cache_decision
            assert decision is not None and decision.verdict == "served" and decision.entry == source.id
            assert source.admitted_ns < record.admitted_ns < source.admitted_ns + 86_400 * 10**9
            assert (record.cost, record.tokens.total, record.recalled) == (0, 0, source.tokens)


def test_every_comparison_belongs_to_a_request_that_a_model_answered() -> None:
    by_id = {record.id: record for record in answered()[0]}
    found = of(Evidence)
    assert len(found) > 100
    for event in found:
        assert isinstance(event, Evidence)
        record = by_id[event.id]
        decision = record.cache_decision
        assert record.cache == "miss" and decision is not None and decision.entry == event.chosen
        assert event.fits is (decision.verdict == "probe") is (record.would_cache == "semantic")
        assert (event.propensity < 1) is event.fits


def test_what_was_learned_is_learned_again_from_the_log() -> None:
    given = task(by_meaning=True).settings.cache.semantic
    decider = Decider(given.mode, given.max_error, given.similarity, given.probe)
    for event in log().events:
        if isinstance(event, Evidence):
            decider.learn(event.compared, event.chosen, event.fits, event.propensity)
        elif isinstance(event, Used):
            for looked in event.scopes.values():
                decider.looked(looked)
    kept = Decider(given.mode, given.max_error, given.similarity, given.probe)
    kept.restore(msgspec.msgpack.decode(log().judges, type=dict[str, bytes])["keyless"])
    assert kept.standing().requests == decider.standing().requests
    assert kept.standing().probes == decider.standing().probes > 0
    standing = Standing()
    standing.apply(Numbered(place + 1, event) for place, event in enumerate(log().events))
    scope = standing.in_scope("keyless")
    assert decider.standing().requests == scope.looked.requests
    probes = [event for event in of(Evidence) if isinstance(event, Evidence) and event.fits and probe_of(event) is not None]
    assert scope.probes.count == len(probes)


def test_entries_live_when_the_demo_begins_and_hold_what_customers_are_told() -> None:
    entries, answers = of(Entry), dict(log().answers)
    assert {entry.id for entry in entries if isinstance(entry, Entry)} == set(answers)
    told = {text: topic for topic in topics() for text in topic.asked}
    for entry in entries:
        assert isinstance(entry, Entry)
        assert entry.at_ns <= UNTIL_NS < entry.expires_ns
        assert entry.vector == meant().vectors[entry.text] and entry.worth is not None
        answer = answers[entry.id]
        assert answer_text("chat.completions", False, answer.body) in told[entry.text].says
        assert orjson.loads(answer.usage or b"")["completion_tokens"] == answer.tokens.output
