"""The id of a request: unique, and in order of time wherever ids are sorted as text."""

RANDOM_BITS = 64


def request_id(admitted_ns: int, randomness: int) -> str:
    """`req_` + 12 hex digits of milliseconds + 16 of the `RANDOM_BITS` random bits."""
    return f"req_{admitted_ns // 1_000_000:012x}{randomness:016x}"
