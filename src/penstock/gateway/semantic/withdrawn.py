"""Answers that nobody may get again, in whichever layer they lie: the exact cache does not read the log."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

MOST: Final = 50_000
"""ids, and wordings, that are kept one by one; about 6 MB each"""


class Withdrawn:
    """Requests whose answers were purged, or told to be wrong, and those of before that asked the same in the same words: for as long as
    the exact cache may hold their answers (`lasts_s`).

    Of more than `most` only the latest request of the oldest ones is kept: what is older than that is held to be withdrawn too. Ids of
    requests are in order of time. Times are monotonic seconds.
    """

    def __init__(self, lasts_s: float, most: int = MOST) -> None:
        self._lasts_s, self._most = lasts_s, most
        self._requests: OrderedDict[str, float] = OrderedDict()
        self._wordings: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """until when, and the id that all requests of before are below"""
        self._latest = ""
        """the highest of these ids"""
        self._before, self._before_until = "", 0.0

    def __len__(self) -> int:
        return len(self._requests) + len(self._wordings)

    def add(self, requests: Iterable[str], wordings: Iterable[bytes], before: str, now_at: float) -> None:
        """Withdraws them from now on; of wordings what requests below the id `before` got."""
        for request in requests:
            self._requests[request] = now_at + self._lasts_s
            self._requests.move_to_end(request)
        for wording in wordings:
            self._wordings[wording] = (now_at + self._lasts_s, before)
            self._wordings.move_to_end(wording)
            self._latest = max(self._latest, before)
        while self._requests and (len(self._requests) > self._most or next(iter(self._requests.values())) <= now_at):
            request, until = self._requests.popitem(last=False)
            self._forget(request, until, now_at)
        while self._wordings and (len(self._wordings) > self._most or next(iter(self._wordings.values()))[0] <= now_at):
            until, bound = self._wordings.popitem(last=False)[1]
            self._forget(bound, until, now_at)

    def has(self, request: str, now_at: float) -> bool:
        """Whether its answer must not be replayed, whatever it asked."""
        if self._before_until > now_at and request <= self._before:
            return True
        return self._requests.get(request, 0.0) > now_at

    def may_have(self, request: str) -> bool:
        """Whether it may be one of those that asked the same as a withdrawn one: then `has_wording` tells."""
        return bool(self._wordings) and request < self._latest

    def has_wording(self, wording: bytes, request: str, now_at: float) -> bool:
        """Whether it is, by its wording."""
        until, before = self._wordings.get(wording, (0.0, ""))
        return until > now_at and request < before

    def _forget(self, request: str, until: float, now_at: float) -> None:
        if until > now_at:
            self._before, self._before_until = max(self._before, request), max(self._before_until, until)
