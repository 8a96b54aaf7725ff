"""How much text a stream brought, from the sizes of its events."""

from typing import Any

import pytest

from penstock.gateway.text_seen import TextSeen
from tests.integration.upstream_rig import event, piece

TEXTS = ["", "one", " and a longer one" * 20, "", " déjà vu"]


def delta(text: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": text}


def block(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def legacy(text: str) -> dict[str, Any]:
    return {"id": "cmpl-1", "choices": [{"index": 0, "text": text, "finish_reason": None}]}


@pytest.mark.parametrize("form", [piece, delta, block, legacy])
def test_the_frames_are_taken_off_whatever_the_dialect(form: Any) -> None:
    seen = TextSeen()
    for text in TEXTS:
        seen.add(event(form(text)))
    assert (seen.events, seen.bytes) == (len(TEXTS), len("".join(TEXTS).encode()))


def test_smaller_frames_take_nothing_back() -> None:
    seen = TextSeen()
    for text in ("a" * 100, "b" * 100):
        seen.add(event(piece(text)))
    seen.add(event({"choices": []}))
    seen.add(b": not even an event")
    assert (seen.events, seen.bytes) == (4, 200)


def test_what_cannot_be_read_counts_as_frame() -> None:
    seen = TextSeen()
    seen.add(b"data: {odd")
    assert seen.bytes == 0
