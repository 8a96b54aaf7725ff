"""The circuit breaker of one replica: after failures in a row it is left alone for a while, then tried once."""

FAILURES_TO_OPEN = 5
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0


class Breaker:
    """Closed, open until an instant, or half open (one probe under way). Times are seconds of any monotonic clock."""

    __slots__ = ("_failures", "_open_until", "_pause", "_probing")

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE_S
        self._open_until = 0.0
        self._probing = False

    @property
    def closed(self) -> bool:
        return self._failures < FAILURES_TO_OPEN

    def admits(self, now: float) -> bool:
        """Whether a call may go out now."""
        return self.closed or (now >= self._open_until and not self._probing)

    def started(self) -> None:
        if not self.closed:
            self._probing = True

    def succeeded(self) -> bool:
        """True when this closes the circuit."""
        closes = not self.closed
        self._failures = 0
        self._pause = FIRST_PAUSE_S
        self._probing = False
        return closes

    def failed(self, now: float) -> bool:
        """True when this opens the circuit."""
        was_closed = self.closed
        self._failures += 1
        self._probing = False
        if not self.closed:
            self._open_until = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
        return was_closed and not self.closed

    def released(self) -> None:
        """The call ended without telling anything of the replica (the client went away)."""
        self._probing = False
