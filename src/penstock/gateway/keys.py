"""The keys that a worker knows: a copy of the key store, refreshed beside the traffic and on the first sight of a new key."""

import asyncio
import time
from collections.abc import Callable

from penstock.ports.key_store import ApiKey, fingerprint
from penstock.ports.usage_store import StoreError

REFRESH_S = 2.0
LOOK_PAUSE_S = 0.2
"""between two looks for unknown keys: a key works at once after it was made, and a flood of wrong ones costs five reads a second"""


class KeyRing:
    """Looks secrets up by their hash. `load` reads all keys and may block: it runs in a thread."""

    def __init__(self, load: Callable[[], list[ApiKey]], log: Callable[[str], None]) -> None:
        self._load = load
        self._log = log
        self._by_hash: dict[str, ApiKey] = {}
        self._by_secret: dict[bytes, ApiKey] = {}
        self._looked_at = 0.0
        self._failing = False
        self._lock = asyncio.Lock()

    async def refresh(self, asked_at: float | None = None) -> None:
        """Reads the store, unless somebody has begun to since `asked_at`; while it is away the last known keys stay valid."""
        asked_at = time.monotonic() if asked_at is None else asked_at
        async with self._lock:
            if self._looked_at > asked_at:
                return
            self._looked_at = time.monotonic()
            try:
                keys = await asyncio.to_thread(self._load)
            except Exception as error:  # whatever it is: a ring that stands still would take revoked keys for ever
                if not self._failing:
                    reason = error if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"
                    self._log(f"keys cannot be refreshed, the last known ones stay valid: {reason}")
                self._failing = True
                return
            self._failing = False
            self._by_hash = {key.sha256: key for key in keys}
            self._by_secret = {}

    async def keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.refresh()

    async def _look_again(self) -> None:
        asked_at = time.monotonic()
        await asyncio.sleep(max(0.0, self._looked_at + LOOK_PAUSE_S - asked_at))
        await self.refresh(asked_at)

    async def find(self, secret: bytes, now_ns: int) -> ApiKey | None:
        """The valid key with this secret; a secret never seen waits until the ring has looked once more."""
        key = self._by_secret.get(secret)
        if key is None:
            hashed = fingerprint(secret.decode("latin-1"))
            key = self._by_hash.get(hashed)
            if key is None:
                await self._look_again()
                key = self._by_hash.get(hashed)
            if key is None:
                return None
            self._by_secret[secret] = key
        if key.revoked_ns is not None or (key.expires_ns is not None and key.expires_ns <= now_ns):
            return None
        return key
