"""Which purses a request draws on: the hard caps and rate limits of the config and of its key, found once for requests that are alike."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Final

import msgspec

from penstock.domain.budgets.accounts import BY_MODEL, Account, Selector
from penstock.domain.ledger.grouping import key_of
from penstock.domain.ledger.record import UsageRecord, booked_of
from penstock.gateway.exchange import Exchange
from penstock.gateway.purses import Purse, Purses
from penstock.gateway.targets import CANDIDATE_KEYS, Candidate
from penstock.ports.key_store import ApiKey

MOST_GROUPS: Final = 10_000
"""kinds of requests that are remembered; clients choose the values of tags"""
Likeness = tuple[object, ...]
OfKey = Callable[[ApiKey], Sequence[Account]]
"""the accounts that a key brings along"""


class Template(msgspec.Struct, frozen=True):
    """An account of the config; with `by`, one for every value of these keys."""

    account: Account
    by: tuple[str, ...] = ()

    def filled(self, values: Mapping[str, str | None]) -> Account:
        """The account of one request; requests that lack a value share one."""
        if not self.by:
            return self.account
        told = "/".join((values[key] or "").replace("%", "%25").replace("/", "%2F") for key in self.by)
        return msgspec.structs.replace(self.account, id=f"{self.account.id}:{told}")


class Group(msgspec.Struct, frozen=True):
    """The purses of requests that are alike, while nothing of it changes."""

    purses: tuple[Purse, ...]
    begin: int
    until: int
    generation: int


class Accounts:
    """Finds purses by what a request tells. `of_key` adds the accounts of its key."""

    def __init__(self, purses: Purses, templates: Sequence[Template], of_key: OfKey) -> None:
        self._purses, self._of_key = purses, of_key
        self._templates = {template.account.id: template for template in templates}
        self._selector = Selector([template.account for template in templates])
        keys = {*self._selector.early_keys, *(key for template in templates for key in template.by)}
        self._keys = tuple(sorted(keys))
        self._groups: dict[Likeness, Group] = {}

    def purses_of(self, x: Exchange, candidates: Sequence[Candidate]) -> tuple[Purse, ...]:
        """The purses of all accounts that the request may fall under, whichever of the candidates answers."""
        if x.key is None and not self._templates:
            return ()
        values = [_told(x, key) for key in self._keys]
        models = tuple((each.model, each.tier) for each in candidates) if self._selector.by_model else ()
        likeness = (*values, x.key_id, models)
        group, at_ns = self._groups.get(likeness), x.admitted_ns
        if group is None or not group.begin <= at_ns < group.until or group.generation != self._purses.generation:
            group = self._group(x, dict(zip(self._keys, values, strict=True)), candidates)
            if len(self._groups) >= MOST_GROUPS:
                self._groups.clear()
            self._groups[likeness] = group
        return group.purses

    def _group(self, x: Exchange, values: Mapping[str, str | None], candidates: Sequence[Candidate]) -> Group:
        found = self._selector.find(values, [{key: of(each) for key, of in CANDIDATE_KEYS.items()} for each in candidates])
        accounts = [*(self._templates[account.id].filled(values) for account in found), *(self._of_key(x.key) if x.key is not None else ())]
        purses = tuple(self._purses.purse(account, x.admitted_ns) for account in accounts)
        begin = max((purse.bucket for purse in purses), default=0)
        return Group(purses, begin, min((purse.until for purse in purses), default=2**63), self._purses.generation)


def _told(x: Exchange, key: str) -> str | None:
    """What a request tells of a key when it comes in."""
    if key == "key_id":
        return x.key_id
    if key == "endpoint":
        return x.endpoint
    return x.asked_for if key == "requested_model" else x.tags.get(key)


class GpuTime:
    """Microseconds of one GPU that planned work takes: what a request on own hardware is counted at against GPU-hours."""

    def __init__(self, per_output_token: Mapping[str, Fraction]) -> None:
        """By fleet: GPU-microseconds per output token, its GPUs over the tokens a second that they are planned to make together."""
        self._per_token = dict(per_output_token)

    def of(self, fleet: str | None, output_tokens: int) -> int:
        """0 for what no own fleet serves. Raises `KeyError` for a fleet without a plan, which the config must not let pass."""
        return ceil(self._per_token[fleet] * output_tokens) if fleet is not None else 0


def covers(account: Account, candidate: Candidate) -> bool:
    """Whether an answer of this candidate would fall under an account that its request falls under."""
    return all(CANDIDATE_KEYS[key](candidate) == value for key, value in account.where if key in CANDIDATE_KEYS)


def booked_on(account: Account, record: UsageRecord, gpu_time: Callable[[str | None, int], int]) -> int:
    """What a record counts against a budget it may fall under, in whole units: 0 when its model does not fit after all."""
    for key, value in account.where:
        if key in BY_MODEL and key_of(record, key) != value:
            return 0
    if account.law.unit == "gpu-hours":
        return gpu_time(record.fleet, record.tokens.output)
    return booked_of(record) or 0


class Caps(msgspec.Struct, frozen=True):
    """The hard caps of one worker."""

    accounts: Accounts
    purses: Purses
    gpu_time: GpuTime
