"""The keys that a worker knows: a copy of the key store, refreshed beside the traffic and on the first sight of a new key."""

import asyncio
import time
from collections.abc import Callable
from hmac import compare_digest

from penstock.ports.key_store import ApiKey, fingerprint
from penstock.ports.usage_store import StoreError

REFRESH_S = 2.0
LOOK_PAUSE_S = 0.2
"""between two looks for unknown keys: a key works at once after it was made, and a flood of wrong ones costs five reads a second"""


class KeyRing:
    """Looks secrets up by their SHA-256; no secret is kept, and none is ever compared.

    How long a look-up takes tells nothing of a key: whoever guesses cannot choose the hash of a guess, so that a hash which begins
    like a stored one brings the next guess no closer, and the stored hash is compared in constant time all the same. `load` reads all
    keys and may block: it runs in a thread.
    """

    def __init__(self, load: Callable[[], list[ApiKey]], log: Callable[[str], None]) -> None:
        self._load = load
        self._log = log
        self._by_hash: dict[str, ApiKey] = {}
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
        hashed = fingerprint(secret.decode("latin-1"))
        key = self._by_hash.get(hashed)
        if key is None:
            await self._look_again()
            key = self._by_hash.get(hashed)
        if key is None or not compare_digest(key.sha256, hashed):
            return None
        if key.revoked_ns is not None or (key.expires_ns is not None and key.expires_ns <= now_ns):
            return None
        return key
