"""The call itself: candidates in order, replicas by least outstanding work, retries with jitter, and the answer read.

A try may be repeated until a byte of its answer has reached the client; a stream that breaks after that is never retried.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from penstock.domain.ledger.record import Attempt
from penstock.gateway.exchange import Answer, Exchange, Wasted
from penstock.gateway.gateway import Gateway
from penstock.gateway.reading import error_answer, read_whole
from penstock.gateway.refusal import Refusal
from penstock.gateway.relaying import relay
from penstock.gateway.routing.odds import REFUSING, asks_logprobs
from penstock.gateway.speech import UNKNOWN_ADDRESS
from penstock.gateway.steering import refused_stand_in
from penstock.gateway.steps.reserve import reserve_for, reserve_more
from penstock.gateway.targets import Candidate
from penstock.gateway.upstreams import Line
from penstock.gateway.wording import cannot, say
from penstock.ports.upstream import UpstreamAnswer, UpstreamCall, UpstreamError
from penstock.wire.message import ClientGone

RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504, 529})
FAILING_STATUSES = frozenset({500, 502, 503, 504, 529})
FIRST_BACKOFF_S = 0.05
LONGEST_BACKOFF_S = 2.0


class Failed(NamedTuple):
    """An error answer worth a retry, kept in case that no try brings a better one."""

    answer: Answer
    candidate: Candidate
    replica: str
    called_at: str | None


class Tries(msgspec.Struct):
    """What the tries so far have come to."""

    last: Failed | None = None
    failure: UpstreamError | None = None
    unsaid: Refusal | None = None
    """why an upstream was not even asked: its dialect cannot say the call"""
    crowded: Refusal | None = None
    """why another was not: it had no place left"""


async def call(gateway: Gateway, x: Exchange, plan: Sequence[Candidate] = ()) -> bool:
    """Answers from an upstream, of another plan than its own where one is given; an error answer is passed on as sent.

    Raises `Refusal`: upstream, when none gave an answer; input, when the call can be said to none of them.
    """
    plan = plan or x.plan
    x.candidate = plan[0]
    tries = Tries()
    for candidate in plan:
        endpoint = gateway.speech.endpoint(candidate.upstream, x.endpoint)
        if await _ask(gateway, x, candidate, endpoint, tries):
            if x.status in UNKNOWN_ADDRESS and endpoint is not None and gateway.speech.unsure(candidate.upstream, endpoint):
                await _ask_otherwise(gateway, x, candidate, tries)
            if x.status in REFUSING and asks_logprobs(gateway, x, candidate) and not await _ask_for_less(gateway, x, candidate, tries):
                continue
            if refused_stand_in(x):
                assert x.answer is not None
                tries.last = Failed(x.answer, candidate, x.replica or "", x.called_at)
                x.outcome, x.error = "ok", None
                continue
            return True
    return _give_up(gateway, x, tries)


async def _ask(gateway: Gateway, x: Exchange, candidate: Candidate, endpoint: str | None, tries: Tries) -> bool:
    """Asks one upstream, as often as it may be asked. True: the client has its answer, or it waits on the exchange."""
    try:
        if endpoint is None:
            raise cannot(x, candidate)
        request = say(gateway, x, candidate, endpoint)
    except Refusal as refusal:
        tries.unsaid = tries.unsaid or refusal
        return False
    x.called_at = endpoint if endpoint != x.endpoint else None
    avoid: Line | None = None
    for attempt in range(1 + gateway.upstreams.retries[candidate.upstream]):
        if attempt:
            await asyncio.sleep(_backoff_s(attempt))
        if not await reserve_more(gateway, x, candidate):
            break
        line = await _pick(gateway, x, candidate, avoid, tries)
        if line is None:
            break
        try:
            reserve_for(gateway, x, candidate)
            if await _try(gateway, x, candidate, line, request):
                return True
            assert x.answer is not None
            tries.last = Failed(x.answer, candidate, line.replica.name, x.called_at)
            if not request.repeatable:
                break
        except UpstreamError as error:
            if x.responder.started:
                x.outcome, x.error = "stream_broken", str(error)
                return True
            tries.failure = error
            if _enough(gateway, candidate, request, error):
                break
        finally:
            gateway.lanes.leave(candidate.upstream)
        avoid = line
    return False


async def _pick(gateway: Gateway, x: Exchange, candidate: Candidate, avoid: Line | None, tries: Tries) -> Line | None:
    """The replica to ask next, and a place at its upstream where those are bounded. None: the tries tell why there is none."""
    line = gateway.upstreams.pick(candidate.upstream, x.permitted, time.monotonic(), avoid)
    lane = gateway.lanes.of(candidate.upstream)
    if lane is not None and line is not None:
        try:
            await gateway.lanes.enter(lane, x)
        except Refusal as refusal:
            tries.crowded = tries.crowded or refusal
            return None
        line = gateway.upstreams.pick(candidate.upstream, x.permitted, time.monotonic(), avoid)  # it may have waited for long
        if line is None:
            lane.leave()
    if line is None:
        tries.failure = tries.failure or _all_open(candidate)
    return line


async def _ask_otherwise(gateway: Gateway, x: Exchange, candidate: Candidate, tries: Tries) -> None:
    """Asks once more, in a dialect that the upstream surely speaks, after it said that it knows no such address.

    When it takes that, it is remembered; when that cannot be said or brings no answer, its own words stand.
    """
    unknown = x.answer, x.status, x.outcome, x.error, x.replica
    substitute = gateway.speech.substitute(candidate.upstream, x.endpoint)
    x.outcome, x.error = "ok", None
    if await _ask(gateway, x, candidate, substitute, tries):
        if x.status < 300:
            gateway.speech.lacks_responses(candidate.upstream)
        return
    x.answer, x.status, x.outcome, x.error, x.replica = unknown
    x.worked, x.called_at = False, None


async def _ask_for_less(gateway: Gateway, x: Exchange, candidate: Candidate, tries: Tries) -> bool:
    """Asks once more, without the probabilities that only we have asked for; what is refused all the same was not for them."""
    gateway.speech.refuses_logprobs(candidate.upstream, candidate.upstream_model)
    x.outcome, x.error = "ok", None
    answered = await _ask(gateway, x, candidate, gateway.speech.endpoint(candidate.upstream, x.endpoint), tries)
    if not answered or x.status in REFUSING:
        gateway.speech.forgives_logprobs(candidate.upstream, candidate.upstream_model)
    return answered


def _enough(gateway: Gateway, candidate: Candidate, request: UpstreamCall, error: UpstreamError) -> bool:
    """Whether the same upstream should not be asked again: it would do the same, is still at work, or may have done the work."""
    if error.kind == "timeout":
        return gateway.upstreams.alone(candidate.upstream) or not request.repeatable
    return error.kind in ("too_large", "dialect") or (error.kind != "connect" and not request.repeatable)


def _all_open(candidate: Candidate) -> UpstreamError:
    return UpstreamError("connect", f"every replica of {candidate.upstream} is failing; it is left alone for a moment")


async def _try(gateway: Gateway, x: Exchange, candidate: Candidate, line: Line, request: UpstreamCall) -> bool:
    """One attempt on one replica. False: an answer worth a retry, kept on the exchange. Raises `UpstreamError`."""
    replica, breaker = line.replica, line.breaker
    started_at = time.perf_counter()
    answer: UpstreamAnswer | None = None
    error: str | None = None
    breaker.started()
    replica.outstanding += 1
    x.begin_try(candidate, replica.name)
    try:
        answer = await replica.send(request)
        x.worked = answer.status < 300
        if answer.status in RETRIED_STATUSES:
            x.answer = error_answer(x, answer, await answer.read())
            if answer.status in FAILING_STATUSES:
                _failed(gateway, candidate, line, f"answers with status {answer.status}")
            else:
                _succeeded(gateway, candidate, line)
            return False
        if answer.status < 300 and not _is_read_whole(_content_type(answer), x.called_at is not None):
            await relay(gateway, x, answer)
        else:
            await read_whole(x, answer)
        _succeeded(gateway, candidate, line)
        return True
    except UpstreamError as failure:
        error = failure.kind
        if failure.kind != "connect":
            _waste(x, candidate, started_at, told=failure.kind == "dialect")
        if failure.kind in ("too_large", "dialect"):
            _succeeded(gateway, candidate, line)
        else:
            _failed(gateway, candidate, line, str(failure))
        raise
    except BaseException as failure:
        error = "the client went away" if isinstance(failure, asyncio.CancelledError | ClientGone) else "failed inside Penstock"
        _waste(x, candidate, started_at)
        breaker.released()
        raise
    finally:
        replica.outstanding -= 1
        if answer is not None:
            answer.close()
        status = answer.status if answer is not None else None
        duration_us = int((time.perf_counter() - started_at) * 1e6)
        begun_us = int((started_at - x.started_at) * 1e6)
        x.attempts.append(Attempt(candidate.model, candidate.upstream, replica.name, status, duration_us, error, begun_us))


def _failed(gateway: Gateway, candidate: Candidate, line: Line, reason: str) -> None:
    if line.breaker.failed(time.monotonic()):
        gateway.log(f"warning: upstream {candidate.upstream}, replica {line.replica.name}, is left alone for a while: {reason}")


def _succeeded(gateway: Gateway, candidate: Candidate, line: Line) -> None:
    if line.breaker.succeeded():
        gateway.log(f"upstream {candidate.upstream}, replica {line.replica.name}, answers again")


def _waste(x: Exchange, candidate: Candidate, started_at: float, *, told: bool = False) -> None:
    """Notes a try that brought no answer; what a client has begun to see counts as an answer, by what was seen of it.

    `told`: it was made, and counted, only cannot be passed on.
    """
    if not x.responder.started:
        x.worked = False
        duration_us = int((time.perf_counter() - started_at) * 1e6)
        x.wasted.append(Wasted(candidate, x.usage if told else None, x.service_tier, x.calls, duration_us))


def _content_type(answer: UpstreamAnswer) -> bytes:
    for name, value in answer.headers:
        if name == b"content-type":
            return value.lower()
    return b""


def _is_read_whole(content_type: bytes, translated: bool) -> bool:
    """JSON and what may be: neither a stream of events nor audio, images and the like, which have no translation."""
    if translated or content_type.startswith(b"text/"):
        return not content_type.startswith(b"text/event-stream")
    return b"json" in content_type or not content_type


def _give_up(gateway: Gateway, x: Exchange, tries: Tries) -> bool:
    """The last error answer as the upstream sent it; without one, an error of our own."""
    x.worked = False
    if tries.last is not None:
        x.answer, x.candidate, x.replica, x.called_at = tries.last
        x.status, x.outcome = x.answer.status, "error"
        x.error = f"upstream status {x.status}"
        return True
    x.answer = None
    if tries.failure is None:
        if tries.crowded is not None and x.payer is None:
            gateway.lanes.note_shed(x)
        refusal = tries.crowded or tries.unsaid
        assert refusal is not None
        raise refusal
    if x.wasted:
        last = x.wasted[-1]
        x.candidate, x.usage = last.candidate, last.usage
        if x.usage is not None:
            x.service_tier, x.calls = last.service_tier, last.calls
            x.wasted.pop()
            x.worked = True  # an answer that was made, and counted, only cannot be told
    raise _unanswered(tries.failure)


def _unanswered(failure: UpstreamError) -> Refusal:
    if failure.kind == "dialect":
        refusal = Refusal(502, "upstream", str(failure), "Ask for a model whose upstream speaks your client's dialect", code="dialect")
        refusal.final = True
        return refusal
    status = 504 if failure.kind == "timeout" else 502
    return Refusal(status, "upstream", f"no upstream answered: {failure}", "Its state is on /metrics; try again later", code=failure.kind)


def _backoff_s(attempt: int) -> float:
    longest: float = min(FIRST_BACKOFF_S * 2.0 ** (attempt - 1), LONGEST_BACKOFF_S)
    return random.uniform(0.5, 1.0) * longest  # noqa: S311  jitter
