"""API keys: hashed at rest, bound to tags and limits, recognisable by a prefix, replaced without a gap."""

from hashlib import sha256
from typing import Protocol

import msgspec

from penstock.ports.audit_log import AuditEntry


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored: never the secret, only its SHA-256. Times are unix nanoseconds."""

    id: str
    prefix: str
    """the first characters of the secret, for people to recognise it by"""
    sha256: str
    created_ns: int
    tags: dict[str, str] = {}
    models: tuple[str, ...] = ()
    """names that this key may ask for; empty: all"""
    expires_ns: int | None = None
    revoked_ns: int | None = None
    name: str | None = None
    """what people call it"""
    tiers: tuple[str, ...] = ()
    """tiers that it may be answered by; empty: all, and models without one"""
    requests: str | None = None
    """how many requests it may make, such as `600 / minute`"""
    tokens: str | None = None
    """how many input and output tokens it may take, such as `100000 / minute`"""
    concurrent: int | None = None
    """requests that it may have under way at once"""
    budget: str | None = None
    """what it may spend, such as `50 USD / month`: a hard cap"""
    account: str = ""
    """id of the first key of its chain of rotations, its own where nothing went before: what limits and budget are counted by"""
    rotated_ns: int | None = None
    """when another key took its place; it works until `expires_ns` then"""
    replaced_by: str | None = None
    replaces: str | None = None

    def __post_init__(self) -> None:
        if not self.account:
            msgspec.structs.force_setattr(self, "account", self.id)


def fingerprint(secret: str) -> str:
    """SHA-256 of a key's secret, as hex: what is stored and looked up instead of the secret, which is random enough to need no salt."""
    return sha256(secret.encode()).hexdigest()


class KeyStore(Protocol):
    """Synchronous like the usage store; data workers read it in a thread and keep what they read.

    A change and the audit entry that tells of it are one transaction: neither stands without the other. Raises `StoreError`.
    """

    def add(self, key: ApiKey, noted: AuditEntry | None = None) -> None: ...

    def all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first."""

    def revoke(self, key_id: str, revoked_ns: int, noted: AuditEntry | None = None) -> bool:
        """True when there was such a key and it was not revoked yet."""

    def rotate(self, key_id: str, successor: ApiKey, until_ns: int, noted: AuditEntry | None = None) -> bool:
        """Adds the successor and lets the key expire at `until_ns`, or earlier where it does so anyway. False, and nothing is written,
        when there is no such key, or it was revoked or replaced before."""
