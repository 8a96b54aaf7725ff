"""What people change holds in every worker, over the real store: pinned entries live on, purged and wrong answers are never replayed."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock import bootstrap
from penstock.adapters.answers import open_answers
from penstock.config.load import parse
from penstock.finops.caching import changing
from penstock.finops.caching.finding import Wanted, one
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.keeping import removals
from penstock.gateway.exchange import new_id
from penstock.ports.answer_store import AnswerStore, Entry, Removal
from penstock.ports.audit_log import AuditLog
from tests.integration.gateway_rig import on_loop, one_upstream
from tests.integration.semantic_rig import ON, SemanticRig, semantic
from tests.integration.test_caching_feedback import CONFIG
from tests.integration.test_semantic import ASKED, MEANT, OTHER, WORDED, told
from tests.integration.upstream_rig import scripted

NOW_NS = 1_900_000_000 * 10**9
BRIEF = ON + 'ttl = "300ms"\n[cache.exact]\nenabled = false\n'


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], AnswerStore]:
    return lambda: open_answers("local://", tmp_path / "journal", list[str]().append)


@pytest.fixture
def log(opened: Callable[[], AnswerStore]) -> Iterator[AnswerLog]:
    log = AnswerLog(opened, list[str]().append)
    yield log
    log.close()


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    settings = parse(CONFIG.format(folder=tmp_path), {})
    bootstrap.open_store(settings).close()
    return bootstrap.open_audit(settings)


async def followed(rig: SemanticRig, log: AnswerLog, entries: int) -> None:
    """Waits until the controller has so many entries, and the worker as many as it had."""

    def has_them() -> bool:
        log.follow()
        return len(log.standing.kept) == entries

    await rig.until(has_them)


async def heeded(rig: SemanticRig, log: AnswerLog) -> None:
    """Waits until the worker has read the log to its end."""
    marker = new_id(time.time_ns())
    log.append([Removal(at_ns=NOW_NS, entries=(marker,), reason="purged")])
    await rig.until(lambda: rig.meaning._withdrawn.has(marker, time.monotonic()))


@on_loop
async def test_a_pinned_entry_outlives_its_time_and_the_worker(opened: Callable[[], AnswerStore], log: AnswerLog, audit: AuditLog) -> None:
    async with scripted(*told("one", "two")) as upstream:
        text = one_upstream(upstream.url, more=BRIEF)
        async with semantic(text, open_store=opened) as rig:
            assert await rig.ask(ASKED) == "miss"
            pinned = rig.running.last.id
            await followed(rig, log, 1)
            changing.vouch(log, audit, one(log.standing, pinned), True, "cli", NOW_NS)
            await rig.until(lambda: _is_over(log, pinned))
            await heeded(rig, log)
            assert [await rig.ask(each) for each in (WORDED, MEANT)] == ["normalised", "semantic"]
            assert await rig.ask(ASKED, {"penstock-cache": "no-cache"}) == "bypass"
            assert log.standing.kept.keys() == {pinned}
        async with semantic(text, open_store=opened) as rig:
            assert [await rig.ask(each) for each in (WORDED, MEANT)] == ["normalised", "semantic"]
            assert len(upstream.asked) == 2, "it is never taken out for a newer answer"
            changing.vouch(log, audit, one(log.standing, pinned), False, "cli", NOW_NS + 1)
            await heeded(rig, log)
            assert await rig.ask(WORDED) == "miss", "it has the end that it had before"


@pytest.mark.parametrize("reason", ["purged", "wrong"])
@on_loop
async def test_an_answer_that_was_taken_out_is_not_replayed_to_the_very_same_request(
    reason: str, opened: Callable[[], AnswerStore], log: AnswerLog, audit: AuditLog
) -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), open_store=opened) as rig:
        assert [await rig.ask(ASKED) for _ in range(2)] == ["miss", "exact"]
        await followed(rig, log, 1)
        if reason == "purged":
            changing.purge(log, audit, list(log.standing.kept.values()), Wanted(), "cli", NOW_NS)
        else:
            log.append(removals([rig.running.records[0].id], "wrong", NOW_NS))
        await heeded(rig, log)
        assert await rig.ask(ASKED) == "miss"
        assert await rig.ask(ASKED) == "exact" and rig.running.last.cache_source == rig.running.records[2].id


@on_loop
async def test_older_answers_to_the_same_words_go_with_it(opened: Callable[[], AnswerStore], log: AnswerLog) -> None:
    async with scripted(*told("one")) as upstream, semantic(one_upstream(upstream.url, more=ON), open_store=opened) as rig:
        fresh = {"penstock-cache": "no-cache"}
        assert [await rig.ask(text, fresh) for text in (ASKED, WORDED, OTHER)] == ["bypass"] * 3
        await followed(rig, log, 2)
        first, second, other = (record.id for record in rig.running.records)
        assert log.standing.kept.keys() == {first, other}, "the second answer says the same: the exact layer alone has it"
        log.append(removals([first], "wrong", NOW_NS))
        await heeded(rig, log)
        assert [await rig.ask(text) for text in (WORDED, OTHER)] == ["miss", "exact"]
        assert [await rig.ask(text) for text in (WORDED, ASKED)] == ["exact", "normalised"], "what is newer is replayed"
        assert second not in {record.cache_source for record in rig.running.records}


@on_loop
async def test_other_layers_off_or_not_asked_heed_it_too(opened: Callable[[], AnswerStore], log: AnswerLog) -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), open_store=opened) as rig:
        assert await rig.ask(ASKED) == "miss"
        await followed(rig, log, 1)
        log.append(removals([rig.running.last.id], "wrong", NOW_NS))
        await heeded(rig, log)
        assert await rig.ask(ASKED, {"penstock-cache": "exact"}) == "miss"


@on_loop
async def test_what_a_person_wrote_takes_the_place_of_an_exact_answer(
    opened: Callable[[], AnswerStore], log: AnswerLog, audit: AuditLog
) -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), open_store=opened) as rig:
        assert [await rig.ask(ASKED) for _ in range(2)] == ["miss", "exact"]
        await followed(rig, log, 1)
        written = changing.pin_answer(log, audit, one(log.standing, rig.running.records[0].id), "by hand", "cli", NOW_NS)
        await heeded(rig, log)
        reply = await rig.running.chat(ASKED)
        assert (reply.headers["penstock-cache"], reply.headers["penstock-cache-source"]) == ("normalised", written)
        assert reply.json["choices"][0]["message"]["content"] == "by hand"


@on_loop
async def test_a_newer_answer_to_the_same_words_leaves_exact_ones(opened: Callable[[], AnswerStore], log: AnswerLog) -> None:
    async with scripted(*told("one", "two")) as upstream, semantic(one_upstream(upstream.url, more=ON), open_store=opened) as rig:
        assert await rig.ask(ASKED) == "miss"
        assert await rig.ask(WORDED, {"penstock-cache": "no-cache"}) == "bypass"
        await rig.until(lambda: [each.event.id for each in opened().since(0) if isinstance(each.event, Entry)] == [rig.running.last.id])
        await heeded(rig, log)
        assert await rig.ask(ASKED) == "exact"


def _is_over(log: AnswerLog, entry: str) -> bool:
    found = log.entry(entry)
    assert found is not None
    return time.time_ns() > found.expires_ns
