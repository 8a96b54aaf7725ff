"""A small history of the firm, made once for the tests that look at it."""

import io
import re
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from penstock import bootstrap
from penstock.config.load import load
from penstock.demo import faq, scenery, seeding
from penstock.demo.answering import Log, Meant
from penstock.demo.history import History, Plan
from penstock.demo.seeding import Task, make
from penstock.domain.ledger.record import UsageRecord

UNTIL_NS = 1_795_261_500_123_456_789
"""2026-11-21, a Saturday, 11:45 UTC"""
REQUESTS = 15_000
WORDS = 512


def task(seed: int = 7, requests: int = REQUESTS, until_ns: int = UNTIL_NS, by_meaning: bool = False) -> Task:
    """What the demo's own config and prices make of a plan."""
    with tempfile.TemporaryDirectory() as directory:
        settings = load(scenery.write(Path(directory), "127.0.0.1:4100", seed, until_ns, requests, by_meaning=by_meaning), {})
        return Task(Plan(seed, until_ns, requests), settings, bootstrap.price_book(settings))


@cache
def history(seed: int = 7, requests: int = REQUESTS) -> tuple[UsageRecord, ...]:
    """All records of a history."""
    made = task(seed, requests)
    return tuple(record for hour in History(made.plan, made.settings, made.book).hours() for record in hour)


def meant() -> Meant:
    """The demo's questions and answers as vectors of their words, so that no model is needed: most words in common are near."""
    vectors = {}
    for text in faq.texts():
        row = np.zeros(WORDS, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            row[zlib.crc32(word.encode()) % WORDS] += 1
        vectors[text] = (row / np.linalg.norm(row)).astype("<f4").tobytes()
    return Meant("words", vectors, ("keyless",), b"p" * 16)


@cache
def answered(seed: int = 7, requests: int = REQUESTS) -> tuple[tuple[UsageRecord, ...], Log]:
    """All records of a history with the cache by meaning, and what that cache has written."""
    frames = io.BytesIO()
    make(task(seed, requests, by_meaning=True), frames, meant)
    frames.seek(0)
    records: list[UsageRecord] = []
    for frame in seeding._frames(frames):
        if isinstance(frame, list):
            records += frame
        else:
            log = frame
    return tuple(records), log


def cost(wanted: Callable[[UsageRecord], bool]) -> int:
    """Nano-USD of what is wanted."""
    return sum(record.cost or 0 for record in history() if wanted(record))
