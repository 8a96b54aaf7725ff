"""What one request of a load test came to."""

import msgspec


class MeasureError(Exception):
    """An endpoint that cannot be measured, or a file that holds no measurement; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Failure(msgspec.Struct, frozen=True):
    """Why a request gave no answer."""

    kind: str
    """`http_500`, `rate_limited`, `timeout`, `connect`, `reset`, `protocol`, `too_large`, `stream_error`, `broken_off`, `empty`"""
    text: str
    """for people: what the endpoint said of it"""
    retry_after_s: float | None = None
    """how long it asks to be left alone"""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Instants are seconds of one monotonic clock."""

    due_s: float
    """when it should have been sent; latencies count from here, so that a late load generator flatters nobody"""
    first_s: float | None = None
    """when the first piece of content came; None: the answer came whole, or none came"""
    last_s: float | None = None
    """when the last piece of content came"""
    end_s: float
    """when the answer was complete, or failed"""
    input_tokens: int = 0
    cached_tokens: int = 0
    """of the input, found in the endpoint's prefix cache by its own word"""
    output_tokens: int = 0
    estimated: bool = False
    """the endpoint told no usage: input by bytes, output by pieces of the stream"""
    throttled: int = 0
    """times that it was refused for the rate before it was let in; `due_s` is that of the last try"""
    warm_up: bool = False
    """the first of its worker in a closed loop: all of them start at once, which no traffic does"""
    failure: Failure | None = None

    @property
    def ttft_s(self) -> float | None:
        """Time to the first token."""
        return None if self.first_s is None else self.first_s - self.due_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first."""
        if self.first_s is None or self.last_s is None or self.output_tokens < 2 or self.last_s <= self.first_s:
            return None
        return (self.last_s - self.first_s) / (self.output_tokens - 1)

    @property
    def e2e_s(self) -> float:
        """Time to the end of the answer."""
        return self.end_s - self.due_s
