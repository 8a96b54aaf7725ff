"""What goes wrong in the firm's history, as the gateway would record it: refusals, failures, fallbacks, clients that leave."""

import random
from collections.abc import Mapping, Sequence

import msgspec

from penstock.demo.engines import Engine
from penstock.domain.dialects.tokens import NO_TOKENS, Tokens
from penstock.domain.ledger.costing import counterfactual, price_call
from penstock.domain.ledger.record import Attempt, UsageRecord, WastedWork
from penstock.domain.prices.book import PriceBook

TIMEOUT_US = 60_000_000
_TYPOS = ("gpt-4o", "river2", "ocean", "brook")


class Incidents:
    """Turns a request that went well into one that did not."""

    SHARE = 0.0085
    """of requests on an ordinary day"""

    def __init__(self, rng: random.Random, book: PriceBook, engines: Mapping[str, Engine]) -> None:
        self._rng, self._book = rng, book
        self._fallback = list(engines.values())[-1]

    def struck(self, record: UsageRecord, outage: bool) -> UsageRecord:
        """One of the incidents by chance. In the outage most of the medium model's requests fall back, and some of the large one's fail."""
        dice = self._rng.random()
        if outage:
            if record.model == self._fallback.model or record.fleet is not None or dice < 0.25:
                return self._failed(record) if record.fleet is None and dice > 0.93 else record
            return self._fallen_back(record, timed_out=dice < 0.35)
        if dice < 0.2:
            return self._refused(record)
        if dice < 0.45:
            return self._failed(record)
        if dice < 0.7 and record.strategy == "by_complexity" and record.model != self._fallback.model:
            return self._fallen_back(record, timed_out=dice < 0.55)
        return self._left(record) if record.streamed else self._failed(record)

    def _refused(self, record: UsageRecord) -> UsageRecord:
        """A name that is no model here: answered by Penstock itself, nothing was worked for."""
        asked = _TYPOS[int(self._rng.random() * len(_TYPOS))]
        return UsageRecord(
            id=record.id, admitted_ns=record.admitted_ns, endpoint=record.endpoint, status=404, outcome="refused",
            requested_model=asked, tags=record.tags, streamed=record.streamed, cache="bypass",
            error=f"there is no model `{asked}` here", duration_us=180 + int(200 * self._rng.random()),
            cost=0, list_cost=0, input_cost=0, counterfactual=0, baseline=record.baseline,
        )  # fmt: skip

    def _failed(self, record: UsageRecord) -> UsageRecord:
        """Every try was answered with an error, which the client gets as it was sent."""
        status = 429 if self._rng.random() < 0.5 else 503
        tries = self._tries(record, status)
        return msgspec.structs.replace(
            record, status=status, outcome="error", error=f"upstream status {status}", attempts=tuple(tries), finish_reason=None,
            response_model=None, tokens=NO_TOKENS, first_token_us=None, duration_us=_end_us(tries),
            price_id=None, price_version=None, cost=0, list_cost=0, input_cost=0, cost_basis="measured", counterfactual=0,
        )  # fmt: skip

    def _fallen_back(self, record: UsageRecord, *, timed_out: bool) -> UsageRecord:
        """The fallback answered. A try that timed out may have been worked for, so it is booked whole."""
        fallback, at_ns, tokens = self._fallback, record.admitted_ns, record.tokens
        wasted, own = 0, record.fleet
        if timed_out:
            assert record.model is not None
            most = Tokens(tokens.input * 4 // 3, 0, 0, tokens.output * 2, 0)
            wasted = price_call(self._book, record.model, most, at_ns).cost or 0
            tries = [Attempt(record.model, record.upstream or "", record.replica or "", None, TIMEOUT_US, "timeout", 0)]
        else:
            tries = self._tries(record, 503)
        lost_us = _end_us(tries)
        priced = price_call(self._book, fallback.model, tokens, at_ns)
        attempts = (*tries, Attempt(fallback.model, fallback.upstream, fallback.replica, 200, record.duration_us, None, lost_us))
        return msgspec.structs.replace(
            record, model=fallback.model, response_model=fallback.model, model_version=fallback.version, optimization=None,
            tier=fallback.tier, upstream=fallback.upstream, replica=fallback.replica, fleet=None, gpu=None, region=None, attempts=attempts,
            route=f"{record.tier}>{fallback.tier}",
            first_token_us=None if record.first_token_us is None else record.first_token_us + lost_us,
            duration_us=record.duration_us + lost_us, price_id=priced.price_id, price_version=priced.price_version,
            cost=None if priced.cost is None else priced.cost + wasted, list_cost=priced.list_cost, input_cost=priced.input_cost,
            wasted_cost=wasted, provisional=wasted if own else None, wasted_work=(WastedWork(own, tokens),) if own and wasted else (),
            cost_basis="estimated" if wasted else priced.cost_basis,
            counterfactual=counterfactual(self._book, record.baseline, fallback.model, tokens, at_ns),
        )  # fmt: skip

    def _left(self, record: UsageRecord) -> UsageRecord:
        """The client went away in the middle of a stream: what had come by then counts, by an estimate."""
        seen = Tokens(record.tokens.input, 0, 0, 1 + int(record.tokens.output * self._rng.random()), 0)
        assert record.model is not None
        priced = price_call(self._book, record.model, seen, record.admitted_ns)
        return msgspec.structs.replace(
            record, status=499, outcome="client_closed", error="the client went away", finish_reason=None, tokens=seen,
            tokens_basis="estimated", cost=priced.cost, list_cost=priced.list_cost, input_cost=priced.input_cost, cost_basis="estimated",
            attempts=(
                Attempt(record.model, record.upstream or "", record.replica or "", 200, record.duration_us, "the client went away", 0),
            ),
            counterfactual=counterfactual(self._book, record.baseline, record.model, seen, record.admitted_ns),
        )  # fmt: skip

    def _tries(self, record: UsageRecord, status: int) -> list[Attempt]:
        """Three tries of the chosen model that were answered with an error, a moment between them."""
        tries: list[Attempt] = []
        for number in range(3):
            started_us = _end_us(tries) + number * 50_000
            duration_us = 90_000 + int(700_000 * self._rng.random())
            tries.append(Attempt(record.model or "", record.upstream or "", record.replica or "", status, duration_us, None, started_us))
        return tries


def _end_us(tries: Sequence[Attempt]) -> int:
    return (tries[-1].started_us or 0) + tries[-1].duration_us if tries else 0
