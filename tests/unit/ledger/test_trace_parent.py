"""`traceparent` is read as the standard says: what it does not know is ignored, and never kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.trace_parent import TraceParent, kept_traceparent, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_flags(flags: str, sampled: bool) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}") == TraceParent(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01more",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}x-{SPAN}-01",
    ],
)
def test_other_forms_say_nothing(text: str) -> None:
    assert parse_traceparent(text) is None
    assert kept_traceparent(text.encode()) is None


def test_a_later_version_is_kept_as_far_as_it_is_known() -> None:
    assert kept_traceparent(f" cc-{TRACE}-{SPAN}-01-what the future holds".encode()) == f"00-{TRACE}-{SPAN}-01"


@given(st.binary(max_size=80))
def test_anything_may_be_sent(header: bytes) -> None:
    kept = kept_traceparent(header)
    assert kept is None or parse_traceparent(kept) is not None
