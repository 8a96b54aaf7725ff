"""API keys: hashed at rest, bound to tags, recognisable by a prefix."""

from hashlib import sha256
from typing import Protocol

import msgspec


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


def fingerprint(secret: str) -> str:
    """SHA-256 of a key's secret, as hex: what is stored and looked up instead of the secret, which is random enough to need no salt."""
    return sha256(secret.encode()).hexdigest()


class KeyStore(Protocol):
    """Synchronous like the usage store; data workers read it in a thread and keep what they read."""

    def add(self, key: ApiKey) -> None: ...

    def all(self) -> list[ApiKey]:
        """Every key, revoked ones too, oldest first. Raises `StoreError`."""

    def revoke(self, key_id: str, revoked_ns: int) -> bool:
        """True when there was such a key and it was not revoked yet."""
