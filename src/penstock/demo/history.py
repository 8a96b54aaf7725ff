"""Thirty days of the firm's requests as usage records, priced by the laws and the price book that price live traffic.

The same seed, end and number of requests give the same records, whatever runs beside it.
"""

import random
from collections import deque
from collections.abc import Iterator
from math import exp
from statistics import NormalDist
from typing import TYPE_CHECKING

import msgspec

from penstock.config.settings import Settings
from penstock.demo import runaway
from penstock.demo.calendar import CACHE_DAY, DAYS, HOUR_NS, LEARNED_DAY, MEASURED_DAY, VERSION_DAY, Calendar
from penstock.demo.careful import LABELS, MOST_SHADOWED, Careful, Case
from penstock.demo.engines import Engine, engines
from penstock.demo.firm import AUTO, CAREFUL, FEATURES, LARGE, MEDIUM, SMALL, UNTAGGED, Feature
from penstock.demo.incidents import Incidents
from penstock.demo.lookups import DIFFICULTIES
from penstock.demo.scenery import MEDIUM_VERSIONS
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.costing import counterfactual, price_call, price_recall
from penstock.domain.ledger.record import CacheDecision, CacheOutcome, UsageRecord
from penstock.domain.ledger.request_id import RANDOM_BITS, request_id
from penstock.domain.prices.book import PriceBook

if TYPE_CHECKING:
    from penstock.demo.answering import Asked, Log, Meant

ENDPOINT = "chat.completions"
REMEMBERED = 48
"""a repeat is one of that many latest answers"""
FREQUENT, LEAST_FREQUENT, MOST_FREQUENT = 0.08, 2_100, 0.5
"""part of the chat's requests that ask a frequent question; in a small history more, so that there are so many, up to this part"""
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
        self.repeats: deque[bool] = deque()
        """whether its next requests repeat an earlier one, where that is settled already"""


class History:
    """All records in order of time, an hour at a time."""

    def __init__(self, plan: Plan, settings: Settings, book: PriceBook) -> None:
        self._plan, self._book = plan, book
        self._calendar = Calendar(plan.until_ns)
        self._engines = engines(settings)
        self._usual = plan.requests - int(plan.requests * runaway.SHARE)
        self._baseline = settings.tiers[settings.server.baseline].model if settings.server.baseline else None
        self._rng = random.Random(plan.seed)  # noqa: S311  traffic, not secrets
        self._lanes = [_Lane(feature) for feature in (*FEATURES, UNTAGGED)]
        self._shares = sum(lane.feature.share for lane in self._lanes)
        self._incidents = Incidents(self._rng, book, self._engines)
        self._new_version_ns = self._calendar.start_ns(VERSION_DAY)
        self._chat = next(lane for lane in self._lanes if lane.feature.name == "chat")
        self._chats: dict[int, list[int]] = {}
        """hour -> instants at which the chat asks what is not frequent, where the cache by meaning is played"""
        self._asked: dict[int, list[UsageRecord]] = {}
        """hour -> records of frequent questions"""
        self._cache_ns = self._calendar.start_ns(CACHE_DAY)
        self._semantic = settings.cache.semantic
        self._careful = Careful(
            settings, self._calendar.start_ns(MEASURED_DAY), self._calendar.start_ns(LEARNED_DAY), self._shadow(settings), self._rng
        )
        self._beside: list[UsageRecord] = []
        """calls made beside this hour's requests"""
        self._tiers = {tier: given.model for tier, given in settings.tiers.items()}

    def _shadow(self, settings: Settings) -> float:
        """The configured share, or in a small history so much that a usual feature of the route is labelled often enough."""
        shares = sorted(feature.share for feature in FEATURES if feature.asks == CAREFUL)
        usual = self._usual * shares[len(shares) // 2] / self._shares * (LEARNED_DAY - MEASURED_DAY) / DAYS
        return min(max(settings.routes[CAREFUL].shadow, LABELS / usual), MOST_SHADOWED)

    def play(self, meant: "Meant") -> "Log":
        """Plays the cache by meaning from `CACHE_DAY` on, to be called before that day is made; returns what it would have written."""
        from penstock.demo.answering import Answering, Makes, asked_in

        chat, calendar, rng = self._chat, self._calendar, random.Random(self._plan.seed + 1)  # noqa: S311  traffic, not secrets
        answering = Answering(self._semantic, meant, Makes(self._fresh, self._again), rng)
        busy = {hour: calendar.busyness("customers", hour) for hour in calendar.hours()}
        expected = self._usual * chat.feature.share / self._shares / sum(busy.values())
        total = expected * sum(each for hour, each in busy.items() if hour >= self._cache_ns)
        part = min(max(FREQUENT, LEAST_FREQUENT / total), MOST_FREQUENT)
        users = [tags["user"] for tags in chat.tags]
        for hour in (hour for hour in busy if hour >= self._cache_ns):
            due = expected * busy[hour] * max(rng.gauss(1, 0.09), 0.5)
            times, others = self._offsets(hour, due * part), self._offsets(hour, due * (1 - part))
            repeats = [rng.random() < chat.feature.repeated for _ in others]
            chat.repeats.extend(repeats)
            self._chats[hour] = others
            self._asked[hour] = answering.hour(hour, [*asked_in(sorted(times), users, rng)], len(others), sum(repeats))
        return answering.log(self._plan.until_ns)

    def hours(self) -> Iterator[list[UsageRecord]]:
        """The records of each hour."""
        calendar, hours = self._calendar, self._calendar.hours()
        looping = runaway.calls(self._plan.requests, calendar, self._rng)
        busy = {lane.feature.rhythm: [calendar.busyness(lane.feature.rhythm, hour) for hour in hours] for lane in self._lanes}
        scale = [self._usual * lane.feature.share / self._shares / sum(busy[lane.feature.rhythm]) for lane in self._lanes]
        weather = self._rng.gauss
        for index, hour in enumerate(hours):
            due = [
                (offset, lane)
                for lane, each in zip(self._lanes, scale, strict=True)
                for offset in (
                    self._chats[hour]
                    if lane is self._chat and hour in self._chats
                    else self._offsets(hour, each * busy[lane.feature.rhythm][index] * max(weather(1, 0.09), 0.5))
                )
            ]
            due.sort(key=_by_time)
            records = [self._record(lane, at_ns) for at_ns, lane in due]
            loop, asked = looping.get(hour, []), self._asked.pop(hour, [])
            beside, self._beside = self._beside, []
            more = [*map(self._looping, loop), *asked, *beside]
            yield sorted([*records, *more], key=_by_admission) if more else records

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
        repeats = lane.repeats.popleft() if lane.repeats and at_ns >= self._cache_ns else random() < feature.repeated
        if repeats and lane.answers:
            return self._replayed(lane.answers[int(random() * len(lane.answers))], id, at_ns, tags, streamed)
        engine = self._engines[SMALL if feature.asks == SMALL else self._choice(lane)]
        tokens = self._tokens(lane, engine)
        outage = self._calendar.in_outage(at_ns)
        struck = outage or random() < Incidents.SHARE
        if feature.asks == CAREFUL and not struck:
            record = self._carefully(feature, engine, id, at_ns, tags, tokens, streamed)
        else:
            record = self._answered(feature, engine, id, at_ns, tags, tokens, streamed)
        if lane is self._chat and self._chats and at_ns >= self._cache_ns:
            nothing = CacheDecision("nothing", self._semantic.mode, propensity=0.0, embedding_us=1_300 + int(2_400 * random() ** 2))
            record = msgspec.structs.replace(record, cache_decision=nothing)
        if struck:
            return self._incidents.struck(record, outage)
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

    def _carefully(
        self, feature: Feature, engine: Engine, id: str, at_ns: int, tags: dict[str, str], tokens: Tokens, streamed: bool
    ) -> UsageRecord:
        """A request of the route `careful`; what was called beside it is kept for the end of the hour."""

        def call(tier: str) -> UsageRecord:
            of_tier = self._engines[self._tiers[tier]]
            thought = int(feature.reasoning * self._rng.uniform(0.6, 1.4)) if of_tier.model == LARGE else 0
            its_own = msgspec.structs.replace(tokens, reasoning=thought)
            return self._answered(feature, of_tier, self._id(at_ns), at_ns, tags, its_own, streamed)

        case = Case(id, at_ns, feature.name, DIFFICULTIES.get(feature.name, ()), engine.tier)
        answered = self._careful.answer(case, call)
        self._beside += answered.asides
        return answered.record

    def _answered(
        self, feature: Feature, engine: Engine, id: str, at_ns: int, tags: dict[str, str], tokens: Tokens, streamed: bool
    ) -> UsageRecord:
        """A request that its first try answered."""
        random = self._rng.random
        priced = price_call(self._book, engine.model, tokens, at_ns)
        pace = 0.7 + random() * random() * 2.2
        first_us = int((engine.first_us + engine.prefill_us * tokens.uncached_input) * pace)
        duration_us = first_us + int(engine.decode_us * (tokens.visible_output + tokens.reasoning) * (0.85 + 0.3 * random()))
        chosen = feature.asks in (AUTO, CAREFUL)
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
            strategy="by_complexity" if chosen else "fixed",
            complexity=round(lowest + 0.24 * random(), 3) if chosen else None,
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

    def _fresh(self, asked: "Asked", said: str) -> UsageRecord:
        """A frequent question that a model answered with this text."""
        engine, chat = self._engines[self._choice(self._chat)], self._chat.feature
        tokens = msgspec.structs.replace(self._tokens(self._chat, engine), visible_output=-(-len(said) // 4), reasoning=0)
        return self._answered(chat, engine, self._id(asked.at_ns), asked.at_ns, self._tags_of(asked), tokens, self._streamed())

    def _again(self, asked: "Asked", before: UsageRecord, layer: CacheOutcome) -> UsageRecord:
        """A frequent question that a layer of the cache answered."""
        return self._replayed(before, self._id(asked.at_ns), asked.at_ns, self._tags_of(asked), self._streamed(), layer)

    def _id(self, at_ns: int) -> str:
        return request_id(at_ns, self._rng.getrandbits(RANDOM_BITS))

    def _tags_of(self, asked: "Asked") -> dict[str, str]:
        return next(tags for tags in self._chat.tags if tags["user"] == asked.user)

    def _streamed(self) -> bool:
        return self._rng.random() < self._chat.feature.streamed

    def _replayed(
        self, before: UsageRecord, id: str, at_ns: int, tags: dict[str, str], streamed: bool, layer: CacheOutcome = "exact"
    ) -> UsageRecord:
        """An answer out of the cache."""
        assert before.model is not None
        priced = price_recall(self._book, before.model, before.tokens, at_ns)
        waited_us = 600 + int(2_400 * self._rng.random())
        return msgspec.structs.replace(
            before,
            id=id,
            admitted_ns=at_ns,
            tags=tags,
            streamed=streamed,
            cache=layer,
            cache_decision=None,
            would_cache=None,
            cache_source=before.id,
            route_decision=None,
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
