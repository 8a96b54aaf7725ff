"""Thirty days of the firm's requests as usage records, priced by the laws and the price book that price live traffic.

The same seed, end and number of requests give the same records, whatever runs beside it.
"""

import random
from collections import deque
from collections.abc import Iterator
from math import exp
from statistics import NormalDist

import msgspec

from penstock.config.settings import Settings
from penstock.demo import runaway
from penstock.demo.calendar import HOUR_NS, VERSION_DAY, Calendar
from penstock.demo.engines import Engine, engines
from penstock.demo.firm import AUTO, FEATURES, LARGE, MEDIUM, SMALL, UNTAGGED, Feature
from penstock.demo.incidents import Incidents
from penstock.demo.scenery import MEDIUM_VERSIONS
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.costing import counterfactual, price_call, price_recall
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.request_id import RANDOM_BITS, request_id
from penstock.domain.prices.book import PriceBook

ENDPOINT = "chat.completions"
REMEMBERED = 48
"""a repeat is one of that many latest answers"""
_QUANTILES = 4096
_NORMAL = tuple(NormalDist().inv_cdf((index + 0.5) / _QUANTILES) for index in range(_QUANTILES))
_BLOCK = 128
"""prompt caches keep whole blocks of that many tokens"""


class Plan(msgspec.Struct, frozen=True):
    """What to make up: about `requests` over the days that end at `until_ns`."""

    seed: int
    until_ns: int
    requests: int


class _Lane:
    """One feature on its way through the days: its dice tables and what it was answered lately."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.tags = feature.tags()
        self.tail = tuple(exp(feature.spread * z) for z in _NORMAL)
        total = sum(feature.mix)
        self.upto_small = feature.mix[0] / total
        self.upto_medium = (feature.mix[0] + feature.mix[1]) / total
        self.answers: deque[UsageRecord] = deque(maxlen=REMEMBERED)


class History:
    """All records in order of time, an hour at a time."""

    def __init__(self, plan: Plan, settings: Settings, book: PriceBook) -> None:
        self._plan, self._book = plan, book
        self._calendar = Calendar(plan.until_ns)
        self._engines = engines(settings)
        self._baseline = settings.tiers[settings.server.baseline].model if settings.server.baseline else None
        self._rng = random.Random(plan.seed)  # noqa: S311  traffic, not secrets
        self._lanes = [_Lane(feature) for feature in (*FEATURES, UNTAGGED)]
        self._incidents = Incidents(self._rng, book, self._engines)
        self._new_version_ns = self._calendar.start_ns(VERSION_DAY)

    def hours(self) -> Iterator[list[UsageRecord]]:
        """The records of each hour."""
        calendar, hours = self._calendar, self._calendar.hours()
        looping = runaway.calls(self._plan.requests, calendar, self._rng)
        usual = self._plan.requests - sum(map(len, looping.values()))
        shares = sum(lane.feature.share for lane in self._lanes)
        busy = {lane.feature.rhythm: [calendar.busyness(lane.feature.rhythm, hour) for hour in hours] for lane in self._lanes}
        scale = [usual * lane.feature.share / shares / sum(busy[lane.feature.rhythm]) for lane in self._lanes]
        weather = self._rng.gauss
        for index, hour in enumerate(hours):
            due = [
                (offset, lane)
                for lane, each in zip(self._lanes, scale, strict=True)
                for offset in self._offsets(hour, each * busy[lane.feature.rhythm][index] * max(weather(1, 0.09), 0.5))
            ]
            due.sort(key=_by_time)
            records = [self._record(lane, at_ns) for at_ns, lane in due]
            loop = looping.get(hour)
            yield sorted([*records, *map(self._looping, loop)], key=_by_admission) if loop else records

    def _offsets(self, hour: int, expected: float) -> list[int]:
        """Instants in an hour, as many as expected on average."""
        random = self._rng.random
        start, end = max(hour, self._calendar.since_ns), min(hour + HOUR_NS, self._calendar.until_ns)
        width = end - start
        return [start + int(random() * width) for _ in range(int(expected + random()))]

    def _record(self, lane: _Lane, at_ns: int) -> UsageRecord:
        feature, random = lane.feature, self._rng.random
        # squaring makes the first users of a feature its heaviest
        tags = lane.tags[int(random() ** 2 * len(lane.tags))]
        id = request_id(at_ns, self._rng.getrandbits(RANDOM_BITS))
        streamed = random() < feature.streamed
        if random() < feature.repeated and lane.answers:
            return self._replayed(lane.answers[int(random() * len(lane.answers))], id, at_ns, tags, streamed)
        engine = self._engines[SMALL if feature.asks == SMALL else self._choice(lane)]
        tokens = self._tokens(lane, engine)
        record = self._answered(feature, engine, id, at_ns, tags, tokens, streamed)
        if self._calendar.in_outage(at_ns) or random() < Incidents.SHARE:
            return self._incidents.struck(record, self._calendar.in_outage(at_ns))
        if feature.repeated:
            lane.answers.append(record)
        return record

    def _choice(self, lane: _Lane) -> str:
        dice = self._rng.random()
        return SMALL if dice < lane.upto_small else MEDIUM if dice < lane.upto_medium else LARGE

    def _tokens(self, lane: _Lane, engine: Engine) -> Tokens:
        feature, random, tail = lane.feature, self._rng.random, lane.tail
        asked = int(feature.input * tail[int(random() * _QUANTILES)]) + 1
        said = int(feature.output * tail[int(random() * _QUANTILES)]) + 1
        thought = int(feature.reasoning * tail[int(random() * _QUANTILES)]) if feature.reasoning and engine.model == LARGE else 0
        read = int(asked * feature.reread * 2 * random()) if feature.reread else 0
        read = min(read, asked - 1) // _BLOCK * _BLOCK
        return Tokens(asked - read, read, 0, said, thought)

    def _answered(
        self, feature: Feature, engine: Engine, id: str, at_ns: int, tags: dict[str, str], tokens: Tokens, streamed: bool
    ) -> UsageRecord:
        """A request that its first try answered."""
        random = self._rng.random
        priced = price_call(self._book, engine.model, tokens, at_ns)
        pace = 0.7 + random() * random() * 2.2
        first_us = int((engine.first_us + engine.prefill_us * tokens.uncached_input) * pace)
        duration_us = first_us + int(engine.decode_us * (tokens.visible_output + tokens.reasoning) * (0.85 + 0.3 * random()))
        auto = feature.asks == AUTO
        lowest = {"small": 0.05, "medium": 0.3, "large": 0.71}[engine.tier]
        return UsageRecord(
            id=id,
            admitted_ns=at_ns,
            endpoint=ENDPOINT,
            status=200,
            outcome="ok",
            requested_model=feature.asks,
            model=engine.model,
            response_model=engine.model,
            model_version=MEDIUM_VERSIONS[0] if engine.model == MEDIUM and at_ns < self._new_version_ns else engine.version,
            optimization=engine.optimization,
            tier=engine.tier,
            upstream=engine.upstream,
            replica=engine.replica,
            fleet=engine.fleet,
            gpu=engine.gpu,
            region=engine.region,
            tags=tags,
            streamed=streamed,
            route=engine.tier,
            strategy="by_complexity" if auto else "fixed",
            complexity=round(lowest + 0.24 * random(), 3) if auto else None,
            finish_reason="stop",
            tokens=tokens,
            first_token_us=first_us if streamed else None,
            duration_us=duration_us,
            price_id=priced.price_id,
            price_version=priced.price_version,
            cost=priced.cost,
            list_cost=priced.list_cost,
            input_cost=priced.input_cost,
            cost_basis=priced.cost_basis,
            counterfactual=counterfactual(self._book, self._baseline, engine.model, tokens, at_ns),
            baseline=self._baseline,
        )

    def _replayed(self, before: UsageRecord, id: str, at_ns: int, tags: dict[str, str], streamed: bool) -> UsageRecord:
        """An answer out of the exact cache."""
        assert before.model is not None
        priced = price_recall(self._book, before.model, before.tokens, at_ns)
        waited_us = 600 + int(2_400 * self._rng.random())
        return msgspec.structs.replace(
            before,
            id=id,
            admitted_ns=at_ns,
            tags=tags,
            streamed=streamed,
            cache="exact",
            cache_source=before.id,
            replica=None,
            route=None,
            complexity=None,
            tokens=NO_TOKENS,
            recalled=before.tokens,
            first_token_us=waited_us if streamed else None,
            duration_us=waited_us + 300,
            price_id=priced.price_id,
            price_version=priced.price_version,
            cost=priced.cost,
            list_cost=priced.list_cost,
            input_cost=priced.input_cost,
            cost_basis=priced.cost_basis,
            counterfactual=counterfactual(self._book, self._baseline, before.model, before.tokens, at_ns),
        )

    def _looping(self, call: runaway.LoopCall) -> UsageRecord:
        id = request_id(call.at_ns, self._rng.getrandbits(RANDOM_BITS))
        return self._answered(runaway.FEATURE, self._engines[LARGE], id, call.at_ns, runaway.TAGS, call.tokens, streamed=False)


def _by_time(due: tuple[int, _Lane]) -> int:
    return due[0]


def _by_admission(record: UsageRecord) -> int:
    return record.admitted_ns
