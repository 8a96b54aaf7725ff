"""Budgets and rate limits of one worker, wired: accounts of the config and of keys, purses, and the book that they draw on."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from penstock.bootstrap.ledger import open_books, open_documents, open_keys
from penstock.bootstrap.sharing import host_of, open_book
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.domain.budgets.accounts import Account
    from penstock.finops.budgets.keeper import Keeper
    from penstock.finops.budgets.spent import Watched
    from penstock.gateway.accounts import Caps
    from penstock.gateway.purses import Purses
    from penstock.gateway.rates import Rates
    from penstock.ports.key_store import ApiKey


KEYS_S: Final = 2.0
"""how often the keeper looks at the keys, as the workers do"""


class Spending(msgspec.Struct, frozen=True):
    """What a worker limits spend and speed with."""

    purses: "Purses"
    caps: "Caps"
    rates: "Rates"


def open_spending(settings: Settings, name: str, log: Callable[[str], None]) -> Spending:
    """Nothing is asked of the book yet. Raises `BookError` where its driver is missing."""
    from penstock.config.accounts import cap_accounts, gpu_time_per_token, rate_accounts
    from penstock.gateway.accounts import Accounts, Caps, GpuTime, Template
    from penstock.gateway.purses import Purses
    from penstock.gateway.rates import Rates

    purses = Purses(open_book(settings), name, host_of(settings), log, leased=settings.server.shared != "local://")
    caps = [Template(account) for account in cap_accounts(settings)]
    limits = [Template(account, limit.by) for limit in settings.limits for account in rate_accounts(limit)]
    timezone = settings.server.timezone
    return Spending(
        purses,
        Caps(Accounts(purses, caps, lambda key: _key_caps(key, timezone)), purses, GpuTime(gpu_time_per_token(settings))),
        Rates(Accounts(purses, limits, _key_rates), purses),
    )


def open_keeper(
    settings: Settings, alive: Callable[[], set[str]], passes: Callable[[], int], leads: Callable[[], bool], log: Callable[[str], None]
) -> "Keeper":
    """What keeps the book of this host. Raises `BookError`, `JournalError`."""
    from penstock.config.accounts import cap_accounts, gpu_time_per_token
    from penstock.finops.budgets.keeper import Keeper
    from penstock.finops.budgets.rollcall import RollCall

    leased, host = settings.server.shared != "local://", host_of(settings)
    accounts = [account.id for account in cap_accounts(settings)]
    return Keeper(
        open_book(settings),
        host,
        Watching(settings).look,
        lambda now_ns: open_books(settings, now_ns),
        alive,
        passes,
        gpu_time_per_token(settings),
        log,
        leased=leased,
        leads=leads,
        roll=RollCall(open_documents(settings), host, log, accounts) if leased else None,
    )


class Watching:
    """Every cap: those of the config, and the budgets of keys, which count all keys of a chain of rotations."""

    def __init__(self, settings: Settings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        from penstock.config.accounts import cap_accounts
        from penstock.finops.budgets.spent import Watched

        self._settings, self._monotonic = settings, monotonic
        self._of_config = [Watched(account, (account.where,)) for account in cap_accounts(settings)]
        self._keys: list[ApiKey] | None = None
        self._looked_at = 0.0
        self._found: list[Watched] = []

    def look(self) -> "list[Watched]":
        """The same list while nothing has changed. Raises `StoreError`."""
        if self._keys is None or self._monotonic() - self._looked_at >= KEYS_S:
            at, keys = self._monotonic(), list(open_keys(self._settings).all())
            if keys != self._keys:
                self._found = self._of_config + _watched_keys(keys, self._settings.server.timezone)
            self._keys, self._looked_at = keys, at
        return self._found


def _watched_keys(keys: "Sequence[ApiKey]", timezone: str) -> "list[Watched]":
    from penstock.finops.budgets.spent import Watched

    chains: dict[str, list[ApiKey]] = {}
    for key in keys:
        chains.setdefault(key.account, []).append(key)
    found = []
    for chain in chains.values():
        wheres = tuple((("key_id", key.id),) for key in chain)
        accounts = {account.id: account for key in chain for account in _key_caps(key, timezone)}
        found += [Watched(account, wheres, has_beside=False) for account in accounts.values()]
    return found


def _key_caps(key: "ApiKey", timezone: str) -> "Sequence[Account]":
    from penstock.config.accounts import key_cap

    return () if key.budget is None else (key_cap(key.account, key.budget, timezone),)


def _key_rates(key: "ApiKey") -> "Sequence[Account]":
    from penstock.config.accounts import rate_accounts
    from penstock.config.spending import RateLimit

    return rate_accounts(RateLimit(f"key {key.account}", requests=key.requests, tokens=key.tokens, concurrent=key.concurrent), "key")
