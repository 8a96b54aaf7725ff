"""Something that has been so for a while: the one law of thresholds "for 60 seconds"."""


class Sustained:
    """Whether a condition held at every tick of the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def holds(self, condition: bool, at_s: float) -> bool:
        """True once it has held from a tick at least `seconds` ago until now."""
        if not condition:
            self._since = None
            return False
        if self._since is None:
            self._since = at_s
        return at_s - self._since >= self._seconds

    def again(self) -> None:
        """Counts anew from the next tick on."""
        self._since = None
