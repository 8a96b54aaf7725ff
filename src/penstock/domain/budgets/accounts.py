"""Accounts: what is limited, for which requests; and which of many accounts a request falls under, in one look per set of keys.

A filter names keys that a request tells when it comes in (tags, `key_id`, `endpoint` ...) and keys that the config tells of the model that
may answer (`model`, `tier`, `fleet` ...). Before the answer a request falls under an account when any model that may answer fits it; its
record then says whether it really does.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec

from penstock.domain.budgets.limits import Law

BY_MODEL: Final = frozenset({"model", "model_version", "optimization", "tier", "upstream", "fleet", "gpu", "instance", "region"})
"""keys that the config tells of every model that may answer"""

Values = Mapping[str, str | None]


class Account(msgspec.Struct, frozen=True):
    """One limit on one kind of spend. `id` names it in the book and changes with all but its amount."""

    id: str
    name: str
    law: Law
    where: tuple[tuple[str, str], ...] = ()
    at_limit: Literal["refuse", "queue", "downgrade"] = "refuse"
    fail: Literal["closed", "open"] = "closed"
    max_wait_s: float = 0.0
    text: str = ""
    """the limit as it was written"""
    fresh: bool = False
    """a rate limit: what came before its book does not matter"""

    @property
    def plain(self) -> bool:
        """It counts the cost of every request that falls under it, whichever model answers."""
        return self.law.unit == "USD" and not any(key in BY_MODEL for key, _ in self.where)


def account_id(kind: str, name: str, law: Law, where: Iterable[tuple[str, str]]) -> str:
    """`budget:support, monthly#1f3a9c02`: the digest is of what is counted, so an account that counts something else begins anew."""
    counted = repr((law.unit, law.period, law.rolling_ns, law.timezone, sorted(where)))
    return f"{kind}:{name}#{blake2b(counted.encode(), digest_size=4).hexdigest()}"


class Selector:
    """Finds the accounts of a request: accounts with the same keys lie in one table by their values."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        tables: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[tuple[str | None, ...], list[Account]]] = {}
        for account in accounts:
            early = sorted(pair for pair in account.where if pair[0] not in BY_MODEL)
            late = sorted(pair for pair in account.where if pair[0] in BY_MODEL)
            keys = tuple(key for key, _ in early), tuple(key for key, _ in late)
            tables.setdefault(keys, {}).setdefault(tuple(value for _, value in early + late), []).append(account)
        self._tables = tables
        self.early_keys = tuple(sorted({key for early, _ in tables for key in early}))
        """keys of requests that any account asks for"""
        self.by_model = any(late for _, late in tables)
        """whether the models that may answer make a difference"""

    def find(self, request: Values, models: Sequence[Values]) -> tuple[Account, ...]:
        """Every account that the request may fall under with one of these models, each once."""
        found: dict[str, Account] = {}
        for (early, late), table in self._tables.items():
            head = tuple(request.get(key) for key in early)
            tails = dict.fromkeys(tuple(model.get(key) for key in late) for model in models) if late else {(): None}
            for tail in tails:
                for account in table.get(head + tail, ()):
                    found[account.id] = account
        return tuple(found.values())
