"""From observations on the ledger to policies at the workers: learned by the controller that leads, told by every one."""

import asyncio
import random
import time
from pathlib import Path

import msgspec
import orjson
import pytest

from penstock.adapters.journal.reader import JournalDirectory
from penstock.bootstrap.answers import open_feedback
from penstock.bootstrap.chores import Duties, open_duties
from penstock.bootstrap.ledger import open_documents, open_evidence, open_store
from penstock.bootstrap.routing import open_route_feedback, open_shadows
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.routed import Judged, Observation, RouteDecision, Seen
from penstock.domain.routing.proving.policy import RoutePolicy
from penstock.finops.alerting.outbox import letters
from penstock.finops.caching.feedback import Rating
from penstock.finops.controller import Controller
from penstock.finops.metrics import MetricsAggregator
from penstock.finops.routing.publishing import published
from penstock.gateway.routing.policies import Policies
from penstock.ports.usage_store import Intake
from penstock.wire.client import Address, Pool, Timeouts

CONFIG = """
version = 1
[server]
store = "sqlite:///{folder}/ledger.db"
journal = "{folder}/journal"
[upstreams.u]
base_urls = ["http://127.0.0.1:9/v1"]
[models.s]
upstream = "u"
version = "{version}"
price = {{ input = 1, output = 2 }}
[models.m]
upstream = "u"
price = {{ input = 3, output = 6 }}
[models.l]
upstream = "u"
price = {{ input = 30, output = 60 }}
[tiers]
small = {{ model = "s" }}
mid = {{ model = "m" }}
large = {{ model = "l" }}
[routes.auto]
strategy = "{strategy}"
tiers = ["small", "mid", "large"]
error_budget = 0.05
shadow_budget = "5 USD / day"
[notify.ops]
kind = "webhook"
url = "http://127.0.0.1:9/"
"""
S = 10**9
NOW = time.time_ns()
OPEN = ("proven", "expected")


def settings_of(folder: Path, version: str = "1", strategy: str = "learned") -> Settings:
    (folder / "journal").mkdir(exist_ok=True)
    return parse(CONFIG.format(folder=folder, version=version, strategy=strategy), {})


def observation(number: int, right: bool, *, at_ns: int, tag: str = "support") -> Observation:
    seen = (
        Seen("small", float(right), 20_000, "x" if right else "y", 0.95, model="s@1"),
        Seen("mid", 1.0, 60_000, "x", 0.95, model="m"),
        Seen("large", 1.0, 600_000, "x", model="l"),
    )
    return Observation(id=f"req_{at_ns}_{number}", at_ns=at_ns, route="auto", tag=tag, seen=seen, judge="check", propensity=0.05)


def labels(count: int, wrong: float, *, since_ns: int, seed: int = 1) -> list[Observation]:
    draw = random.Random(seed)
    return [observation(number, draw.random() >= wrong, at_ns=since_ns + number * S) for number in range(count)]


def requests(count: int, *, at_ns: int = NOW) -> list[UsageRecord]:
    """Routed to the small tier, whose answers were kept."""
    kept = RouteDecision("support", "why", (Judged("cascade", ("small",), "confident", True, confidence=0.95),))
    return [
        UsageRecord(
            id=f"req_{number}", admitted_ns=at_ns, endpoint="chat.completions", status=200, outcome="ok", requested_model="auto",
            model="s", tier="small", upstream="u", tags={"feature": "support"}, route_decision=kept,
        )
        for number in range(count)
    ]  # fmt: skip


class Host:
    """A controller's chores on a ledger, without its sockets."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = open_store(settings)
        self.duties: Duties = open_duties(settings, {}, self.store, lambda fleet: None)
        self.duties.leader.step()
        assert self.duties.leader.leads() and self.duties.routed is not None
        self.routed = self.duties.routed
        self.evidence = open_evidence(settings)

    def learn(self, now_ns: int) -> RoutePolicy:
        """What is published after a turn of the chores of routing."""
        self.duties.leader.step()
        self.routed.told()
        for chore in self.routed.chores:
            chore.step(now_ns)
        (policy,) = published(open_documents(self.settings))
        return policy


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chore rests between the turns of a test."""
    monkeypatch.setattr("penstock.finops.routing.learning.LOOK_S", 0.0)
    monkeypatch.setattr("penstock.bootstrap.routing.REST", 0.0)


def test_what_is_measured_opens_a_way_and_an_alarm_closes_it(settings: Settings) -> None:
    host = Host(settings)
    host.evidence.add(labels(400, 0.0, since_ns=NOW - 20_000 * S))
    opened = host.learn(NOW)
    tag = opened.tags["support"]
    assert tag.state in OPEN and tag.course.stages[0].tiers[0] in ("small", "mid")
    assert opened.error_budget == 0.05 and opened.models == {"small": "s@1", "mid": "m", "large": "l"}
    host.evidence.add([
        msgspec.structs.replace(each, seen=(*(msgspec.structs.replace(cheap, quality=0.0) for cheap in each.seen[:2]), each.seen[2]))
        for each in labels(200, 0.5, since_ns=NOW - 10_000 * S)
    ])  # fmt: skip
    tripped = host.learn(NOW + S).tags["support"]
    assert tripped.state not in OPEN and tripped.since_ns == NOW + S
    assert tripped.course.stages[-1].tiers == ("large",)
    if tripped.state == "alarm":
        (letter,) = letters(open_documents(settings))
        assert (letter.recipient, letter.message.labels["route"], letter.message.severity) == ("ops", "auto", "warning")


def test_another_version_of_a_model_begins_anew(tmp_path: Path) -> None:
    host = Host(settings_of(tmp_path))
    host.evidence.add(labels(400, 0.0, since_ns=NOW - 10_000 * S))
    assert host.learn(NOW).tags["support"].state in OPEN
    after = Host(settings_of(tmp_path, version="2")).learn(NOW + S)
    assert after.models["small"] == "s@2"
    assert not any(tag.state in OPEN for tag in after.tags.values())


def test_the_same_evidence_gives_the_same_policy(settings: Settings) -> None:
    one = Host(settings)
    one.evidence.add(labels(300, 0.02, since_ns=NOW - 10_000 * S))
    one.routed.observers[0](requests(50))
    first = one.learn(NOW)
    one.duties.leader.close()
    second = Host(settings).learn(NOW)
    assert {name: (tag.state, tag.course) for name, tag in first.tags.items()} == {
        name: (tag.state, tag.course) for name, tag in second.tags.items()
    }


def test_what_stands_on_records_is_learned_from(settings: Settings) -> None:
    host = Host(settings)
    lines = [
        UsageRecord(
            id=f"{each.id}_s", admitted_ns=each.at_ns, endpoint="chat.completions", status=200, outcome="ok", purpose="shadow",
            parent=each.id, observed=each,
        )
        for each in labels(10, 0.0, since_ns=NOW - 10_000 * S)
    ]  # fmt: skip
    host.store.take_in(Intake(records=lines, opened=[], settled=[], offsets={}))
    assert host.learn(NOW).tags["support"].labels == 10


def test_ratings_close_what_they_speak_against(settings: Settings) -> None:
    host = Host(settings)
    host.evidence.add(labels(400, 0.0, since_ns=NOW - 10_000 * S))
    records = requests(200, at_ns=NOW)
    host.store.take_in(Intake(records=records, opened=[], settled=[], offsets={}))
    host.routed.observers[0](records)
    before = host.learn(NOW).tags["support"]
    assert before.state in OPEN and before.course.stages[0].tiers[0] == "small"
    desk = open_feedback(settings, None, open_route_feedback(settings, host.routed.told))
    for record in records[:5]:
        desk.give(Rating(request_id=record.id, rating="down"), None, NOW + S)
    assert host.learn(NOW + 2 * S).tags["support"].labels == before.labels, "five of two hundred are within the error budget"
    for record in records[5:80]:
        desk.give(Rating(request_id=record.id, rating="down"), None, NOW + 3 * S)
    after = host.learn(NOW + 4 * S).tags["support"]
    assert after.labels != before.labels
    assert (after.state, after.course) != (before.state, before.course)
    for record in records[:80]:
        desk.give(Rating(request_id=record.id, rating="up"), None, NOW + 5 * S)
    assert host.learn(NOW + 6 * S).tags["support"].course == before.course, "a complaint is taken back"


def test_only_the_leader_learns(settings: Settings) -> None:
    leader = Host(settings)
    other = open_duties(settings, {}, leader.store, lambda fleet: None)
    assert other.routed is not None
    leader.evidence.add(labels(10, 0.0, since_ns=NOW - S))
    for chore in other.routed.chores:
        chore.step(NOW)
    assert published(open_documents(settings)) == ()
    leader.learn(NOW)
    assert [policy.route for policy in other.routed.policies()] == ["auto"], "and every host tells its workers"


def test_metrics_tell_it(settings: Settings) -> None:
    host = Host(settings)
    host.evidence.add(labels(400, 0.0, since_ns=NOW - 10_000 * S))
    host.learn(NOW)
    host.routed.policies()
    aggregator = MetricsAggregator((), "1")
    aggregator.observe(requests(3))
    text = aggregator.render({name: samples for gauge in host.duties.gauges for name, samples in gauge().items()}).decode()
    assert 'penstock_route_error_budget{route="auto"} 0.05' in text
    assert 'penstock_route_stage_total{kept="yes",kind="cascade",route="auto",stratum="confident"} 3.0' in text
    assert 'penstock_route_state{route="auto",state="proven",tag="support"} 1.0' in text
    assert 'penstock_route_expected_loss{route="auto",tag="support"}' in text


def test_without_an_error_budget_nothing_is_learned(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, strategy="cascade")
    plain = msgspec.structs.replace(settings.routes["auto"], error_budget=None, shadow_budget=None)
    settings = msgspec.structs.replace(settings, routes={"auto": plain})
    duties = open_duties(settings, {}, open_store(settings), lambda fleet: None)
    assert duties.routed is None and open_shadows(settings, print) is None


def test_the_controller_tells_its_workers(settings: Settings, tmp_path: Path) -> None:
    host = Host(settings)
    host.evidence.add(labels(400, 0.0, since_ns=NOW - 10_000 * S))
    policy = host.learn(NOW)
    log: list[str] = []
    controller = Controller(
        JournalDirectory(settings.server.journal), host.store, MetricsAggregator((), "1"), log.append, policies=host.routed.policies
    )
    socket = str(tmp_path / "c.sock")
    gauges = {
        "worker": "w1", "requests_in_flight": 0, "journal_failures": 0, "unmetered_requests": 0, "reservations_exceeded": 0,
        "refused_budget": {}, "book_up": True, "rss_bytes": 1, "cache": {}, "semantic": {}, "queue": {}, "shed": {},
        "upstream_outstanding": [], "circuit_open": [], "shadows": [["auto", "labelled", 7], ["auto", "busy", 1]],
    }  # fmt: skip

    async def ask() -> dict[str, object]:
        stop = asyncio.Event()
        running = asyncio.create_task(controller.run(socket, stop))
        pool = Pool(Address(unix_path=socket), Timeouts(connect=1.0, first=5.0, idle=5.0), 10**6)
        body = orjson.dumps(gauges)
        told: dict[str, object] = {}
        try:
            while "routing" not in told:
                await asyncio.sleep(0.05)
                if not Path(socket).exists():
                    continue
                head = b"POST /-/worker HTTP/1.1\r\nhost: controller\r\ncontent-length: %d\r\n\r\n" % len(body)
                told = orjson.loads(await (await pool.send(head + body)).read())
        finally:
            stop.set()
            await running
            pool.close()
        return told

    async def bounded() -> dict[str, object]:
        async with asyncio.timeout(20):
            return await ask()

    told = asyncio.run(bounded())
    heard = Policies()
    heard.hear(msgspec.convert(told["routing"], tuple[RoutePolicy, ...]))
    assert heard.of("auto") == policy
    assert controller.gauges()["penstock_route_shadow_total"] == [(("auto", "labelled"), 7.0), (("auto", "busy"), 1.0)]
