"""What a request asks by meaning, who asks, and what answers it could share at all."""

from hashlib import blake2b

from penstock.domain.routing.cache_key import cache_key
from penstock.domain.routing.similarity.question import Question, question_of
from penstock.domain.routing.similarity.wording import normalised
from penstock.gateway.exchange import Exchange
from penstock.gateway.semantic.look import NOBODY, Look


def look_of(x: Exchange, ttl_s: float) -> Look | str:
    """The question of a request whose answer may be replayed for `ttl_s`, or less by its route; a text: why it is never answered by
    meaning."""
    assert x.target is not None and x.cache_key is not None
    question = fit_question(x)
    if isinstance(question, str):
        return question
    locale = (x.request.header(b"accept-language") or b"").decode("latin-1")
    partition = cache_key(
        (*x.scope, x.request.query, *x.heads.variants, locale), x.endpoint, x.target.name, x.target.fingerprint, question.rest
    )
    if partition is None:
        return "no canonical form"
    wording = blake2b(normalised(question.text).encode("utf-8", "surrogatepass"), digest_size=16, key=partition).digest()
    lives_s = ttl_s if x.target.ttl_s is None else min(ttl_s, x.target.ttl_s)
    return Look(x.scope, partition, wording, question.text, _who(x), lives_s, x.cache_key, _max_error(x), named=bool(x.tags.get("user")))


def fit_question(x: Exchange) -> Question | str:
    """The question of a request that an answer could be found for by meaning; a text: why it is never answered so."""
    assert x.body is not None and x.target is not None
    question = question_of(x.endpoint, x.body)
    if isinstance(question, Question) and question.time_bound and x.target.ttl_s is None:
        return "time-bound"
    return question


def _who(x: Exchange) -> str:
    """Who asks: the key, and the `user` tag after a space; several applications may count their users from 1."""
    account, user = x.key.account if x.key is not None else NOBODY, x.tags.get("user")
    return f"{account} {user}" if user else account


def _max_error(x: Exchange) -> float | None:
    return float(x.heads.max_error) if x.heads.max_error else None
