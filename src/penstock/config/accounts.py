"""The accounts of a configuration: its hard caps and rate limits as laws that can be held, the same for workers and controller."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final, Literal

from penstock.config.checks_spending import is_cap
from penstock.config.limits import law_of, parse_rate
from penstock.config.settings import Settings
from penstock.config.spending import Budget, RateLimit
from penstock.domain.budgets.accounts import Account, account_id
from penstock.domain.budgets.limits import Law

_SECOND_NS: Final = 10**9


def cap_accounts(settings: Settings) -> tuple[Account, ...]:
    """Every budget that is a hard cap. Raises `UnitError`."""
    return tuple(cap_account("budget", budget, settings.server.timezone) for budget in settings.budgets if is_cap(budget))


def cap_account(kind: Literal["budget", "key"], budget: Budget, timezone: str) -> Account:
    """The account of a hard cap."""
    law, where = law_of(budget, timezone), tuple(sorted(budget.where.items()))
    assert budget.at_limit != "alert"
    return Account(
        id=account_id(kind, budget.name, law, where),
        name=budget.name,
        law=law,
        where=where,
        at_limit=budget.at_limit,
        fail=budget.fail,
        max_wait_s=float(budget.max_wait),
        text=budget.limit,
    )


def key_cap(account: str, limit: str, timezone: str) -> Account:
    """The account of a key's own budget; `account`: what the key is counted by, whichever of its rotations is used."""
    return cap_account("key", Budget(name=f"key {account}", limit=limit, at_limit="refuse"), timezone)


def rate_accounts(limit: RateLimit, kind: Literal["limit", "key"] = "limit") -> tuple[Account, ...]:
    """The accounts of a rate limit, one for each unit it bounds. Raises `UnitError`."""
    laws = []
    if limit.requests is not None:
        count, seconds = parse_rate(limit.requests)
        laws.append((Law("requests", count, rolling_ns=seconds * _SECOND_NS), limit.requests))
    if limit.tokens is not None:
        count, seconds = parse_rate(limit.tokens)
        laws.append((Law("tokens", count, rolling_ns=seconds * _SECOND_NS), limit.tokens))
    if limit.concurrent is not None:
        laws.append((Law("concurrent", limit.concurrent), str(limit.concurrent)))
    where = tuple(sorted(limit.where.items()))
    return tuple(
        Account(account_id(kind, limit.name, law, where), limit.name, law, where, fail="open", text=text, fresh=True) for law, text in laws
    )


def gpu_time_per_token(settings: Settings) -> Mapping[str, Fraction]:
    """GPU-microseconds per output token of every fleet whose work is planned."""
    return {
        name: Fraction(fleet.count * 1_000_000) / Fraction(str(fleet.planned_tokens_per_second))
        for name, fleet in settings.fleets.items()
        if fleet.planned_tokens_per_second
    }
