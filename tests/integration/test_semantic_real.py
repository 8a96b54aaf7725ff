"""The semantic cache as `serve` wires it: the model from its package, entries in a file beside the journal."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from penstock.bootstrap import caching
from penstock.config.load import absolute, parse
from penstock.domain.ledger.record import CacheDecision
from penstock.gateway.semantic.meaning import Meaning
from tests.integration.gateway_rig import Rig, on_loop, one_upstream, rig
from tests.integration.semantic_rig import ON
from tests.integration.test_semantic import told
from tests.integration.upstream_rig import scripted

CRANK = "How do I open the sluice gate by hand in winter?"
PARAPHRASE = "Please, how do I open the sluice gate by hand in the winter?"
NUMBERS = "How do I open the 3 sluice gates by hand in winter?"
WRONG = "How do I not open the sluice gate by hand in winter?"


@asynccontextmanager
async def wired(config: str, folder: Path) -> AsyncIterator[tuple[Rig, Meaning]]:
    settings = absolute(parse(config, {}), folder)
    Path(settings.server.journal).mkdir(exist_ok=True)
    log: list[str] = []
    meaning = caching.open_meaning(settings, {}, "worker-1", {}, log.append)
    assert meaning is not None, log
    async with rig(config) as running:
        msgspec.structs.force_setattr(running.gateway, "meaning", meaning)
        await meaning.start()
        try:
            await _ready(meaning)
            yield running, meaning
            await running.settled()
        finally:
            await meaning.close()


async def _ready(meaning: Meaning) -> None:
    while not meaning.ready:
        await asyncio.sleep(0.005)


async def _asked(running: Rig, meaning: Meaning, text: str) -> str:
    reply = await running.chat(text)
    await meaning.learned()
    return reply.headers["penstock-cache"]


def decision(running: Rig) -> CacheDecision:
    found = running.last.cache_decision
    assert found is not None
    return found


@on_loop
async def test_it_serves_what_means_the_same_and_survives_a_restart(tmp_path: Path) -> None:
    async with scripted(*told("by the crank", "with three cranks", "never")) as upstream:
        config = one_upstream(upstream.url, more=ON)
        async with wired(config, tmp_path) as (running, meaning):
            meaning._draw = lambda: 0.999
            assert [await _asked(running, meaning, text) for text in (CRANK, PARAPHRASE)] == ["miss", "semantic"]
            served = decision(running)
            assert served.similarity is not None and served.similarity > 0.95 and served.guards == ()
            for text in (NUMBERS, WRONG):
                assert await _asked(running, meaning, text) == "miss"
                assert decision(running).verdict in ("refused", "nothing"), "a number, or a `not`, makes another question"
        async with wired(config, tmp_path) as (running, meaning):
            meaning._draw = lambda: 0.999
            assert [await _asked(running, meaning, text) for text in (CRANK.lower(), PARAPHRASE)] == ["normalised", "semantic"]
            assert len(upstream.asked) == 3


@pytest.mark.parametrize("text", ["🚪" * 40, "открой gate 門を開けて ماذا", "\u0000\ufffe \ud83d", "ab " * 300, "?"])
@on_loop
async def test_odd_texts_are_questions_like_others(tmp_path: Path, text: str) -> None:
    async with scripted(*told("one")) as upstream, wired(one_upstream(upstream.url, more=ON), tmp_path) as (running, meaning):
        if "\ud83d" in text:
            assert (await running.chat(text)).status in (200, 400), "half of a surrogate pair is no Unicode"
            return
        assert [await _asked(running, meaning, each) for each in (text, text + " ")] == ["miss", "normalised"]


@on_loop
async def test_a_very_long_prompt_is_answered_by_its_very_self_only(tmp_path: Path) -> None:
    text = "open the gate " * 60_000
    async with scripted(*told("one")) as upstream, wired(one_upstream(upstream.url, more=ON), tmp_path) as (running, meaning):
        assert [await _asked(running, meaning, each) for each in (text, text, text + "!")] == ["miss", "exact", "miss"]
        assert (decision(running).verdict, decision(running).reason) == ("unfit", "too long")


@on_loop
async def test_a_corrupted_store_is_set_aside(tmp_path: Path) -> None:
    async with scripted(*told("one")) as upstream:
        config = one_upstream(upstream.url, more=ON)
        async with wired(config, tmp_path) as (running, meaning):
            assert await _asked(running, meaning, CRANK) == "miss"
        (file,) = tmp_path.rglob("answers.db")
        for beside in file.parent.glob("answers.db-*"):
            beside.unlink()
        file.write_bytes(b"this is no database " * 500)
        async with wired(config, tmp_path) as (running, meaning):
            assert [await _asked(running, meaning, text) for text in (CRANK, CRANK.lower())] == ["miss", "normalised"]
        with sqlite3.connect(file) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


def test_without_the_extra_it_is_said_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    settings = absolute(parse(one_upstream("http://127.0.0.1:9/v1", more=ON), {}), tmp_path)
    monkeypatch.setattr("penstock.adapters.embedders.missing", lambda: ["onnxruntime", "usearch"])
    assert caching.open_meaning(settings, {}, "w", {}, log.append) is None
    assert len(log) == 1 and "onnxruntime, usearch" in log[0] and "penstock[semantic]" in log[0]


def test_an_embedder_that_cannot_be_opened_is_said_and_left_out(tmp_path: Path) -> None:
    log: list[str] = []
    settings = absolute(parse(one_upstream("http://127.0.0.1:9/v1", more=f'{ON}embedder = "./nowhere"\n'), {}), tmp_path)
    assert caching.open_meaning(settings, {}, "w", {}, log.append) is None
    assert len(log) == 1 and "very same requests" in log[0] and "nowhere" in log[0]


def test_it_is_off_unless_it_is_turned_on(tmp_path: Path) -> None:
    settings = absolute(parse(one_upstream("http://127.0.0.1:9/v1"), {}), tmp_path)
    assert caching.open_meaning(settings, {}, "w", {}, print) is None


@pytest.mark.parametrize(("given", "kept"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numbers_get_one_thread_before_they_are_loaded(tmp_path: Path, given: dict[str, str], kept: str) -> None:
    """Workers begin with `data_plane`; threads that numpy has once started are there to stay."""
    (tmp_path / "penstock.toml").write_text(one_upstream("http://h/v1", more=ON))
    told = subprocess.run(
        [sys.executable, "-c", LOADING, str(tmp_path / "penstock.toml")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **given}, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    assert told.stdout.split() == ["False", kept, "1", "1"]


LOADING = """
import os, sys
from penstock.bootstrap import caching, data_plane
from penstock.config.load import load

class Loaded(BaseException):
    pass

class Watching:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy" and sys._getframe(1).f_code.co_name != "find_spec":
            raise Loaded

settings = load(sys.argv[1], {})
print("numpy" in sys.modules)
sys.meta_path.insert(0, Watching())
try:
    caching.open_meaning(settings, {}, "w", {}, print)
except Loaded:
    print(*(os.environ[name] for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")))
"""
