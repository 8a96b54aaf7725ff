"""Every case of the SDK matrix, played against a running Penstock; then the ledger is asked whether the SDKs were told the truth."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance import sdk_plays_anthropic as anthropic
from tests.acceptance import sdk_plays_frameworks as frameworks
from tests.acceptance import sdk_plays_node as node
from tests.acceptance import sdk_plays_openai as openai
from tests.acceptance.sdk_gate import Gate, Seen
from tests.acceptance.sdk_matrix import CASES, CHAT, MESSAGES, RESPONSES, Case
from tests.acceptance.serving import Serving, serving
from tests.conftest import service_missing
from tests.engines.simulated import simulated_engine

Play = Callable[[Gate], Seen | None]
PLAYS: dict[tuple[str, str], dict[str, Play]] = {
    ("openai (Python)", CHAT): {
        "answer": openai.chat_answer,
        "stream": openai.chat_stream,
        "tools": openai.chat_tools,
        "async": openai.chat_async,
        "errors": openai.chat_errors,
        "broken stream": openai.chat_broken,
        "models": openai.models,
        "image": openai.chat_image,
    },
    ("openai (Python)", RESPONSES): {
        "answer": openai.responses_answer,
        "stream": openai.responses_stream,
        "tools": openai.responses_tools,
        "async": openai.responses_async,
        "errors": openai.responses_errors,
        "broken stream": openai.responses_broken,
        "image": openai.responses_image,
        "thinking": openai.responses_thinking,
    },
    ("anthropic (Python)", MESSAGES): {
        "answer": anthropic.answer,
        "stream": anthropic.stream,
        "tools": anthropic.tools,
        "async": anthropic.asynchronous,
        "errors": anthropic.errors,
        "broken stream": anthropic.broken,
        "count tokens": anthropic.count_tokens,
        "models": anthropic.models,
        "image": anthropic.image,
        "thinking": anthropic.thinking,
    },
    ("langchain_openai", CHAT): {
        "answer": frameworks.langchain_openai_answer,
        "stream": frameworks.langchain_openai_stream,
        "tools": frameworks.langchain_openai_tools,
        "errors": frameworks.langchain_openai_errors,
    },
    ("langchain_openai", RESPONSES): {
        "answer": frameworks.langchain_responses_answer,
        "stream": frameworks.langchain_responses_stream,
        "tools": frameworks.langchain_responses_tools,
    },
    ("langchain_anthropic", MESSAGES): {
        "answer": frameworks.langchain_anthropic_answer,
        "stream": frameworks.langchain_anthropic_stream,
        "tools": frameworks.langchain_anthropic_tools,
        "errors": frameworks.langchain_anthropic_errors,
    },
    ("llm", CHAT): {
        "answer": frameworks.llm_answer,
        "stream": frameworks.llm_stream,
        "tools": frameworks.llm_tools,
        "errors": frameworks.llm_errors,
    },
    ("llm", RESPONSES): {
        "answer": frameworks.llm_responses_answer,
        "stream": frameworks.llm_responses_stream,
        "tools": frameworks.llm_responses_tools,
    },
}
NODE: dict[tuple[str, str], str] = {
    ("openai (Node)", CHAT): "chat",
    ("openai (Node)", RESPONSES): "responses",
    ("@anthropic-ai/sdk (Node)", MESSAGES): "messages",
}
NODE_PLAYS: dict[str, tuple[Callable[[Gate, Path, str], Seen | None], str]] = {
    "answer": (node.answered, "answer"),
    "stream": (node.answered, "stream"),
    "tools": (node.called, "tools"),
    "errors": (node.refused, "answer"),
    "broken stream": (node.broken, "stream"),
}

UPSTREAM = """
[upstreams.{name}]
{keys}
base_urls = ["{url}"]
retries = 0
"""
MODEL = """
[models.{upstream}-{how}]
upstream = "{upstream}"
name = "{name}"
max_output = 256
price = {{ input = 0.15, cached_input = 0.02, output = 0.60 }}
"""
HOW = {"ok": "tiny-llama", "limited": "tiny!rate-limit:1", "failing": "tiny!status:500", "cut": "tiny!reset-after:5"}


def _tables(name: str, url: str, keys: str) -> str:
    return UPSTREAM.format(name=name, url=url, keys=keys) + "".join(
        MODEL.format(upstream=name, how=how, name=called) for how, called in HOW.items()
    )


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Penstock in front of both simulated upstreams, and of llama.cpp where it is installed."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        chat_only = stack.enter_context(simulated_engine({"speaks": ["chat"]}))
        messages_only = stack.enter_context(simulated_engine({"speaks": ["messages"]}))
        tables = "[cache]\nexact = { enabled = false }\n" + _tables("openai", chat_only, 'kind = "openai"')
        tables += _tables("anthropic", messages_only, 'kind = "anthropic"')
        try:
            from tests.engines.llama import running_engine

            llama = stack.enter_context(running_engine(tmp_path_factory.mktemp("llama")))
            tables += _tables("llama", llama, 'speaks = ["chat", "responses", "messages"]')
        except ImportError:
            pass  # the cases against it are skipped
        yield stack.enter_context(serving(tmp_path_factory.mktemp("sdks"), tables))


@pytest.fixture(scope="module")
def seen() -> dict[str, Seen]:
    """What the SDKs were told of usage, by the tag of the case."""
    return {}


@pytest.fixture(scope="module")
def node_sdks(request: pytest.FixtureRequest) -> Path:
    try:
        return node.install(request.config.cache.mkdir("node-sdks"))
    except node.NodeMissing as missing:
        service_missing("the Node SDKs", missing)


def _play_of(case: Case, request: pytest.FixtureRequest) -> Play:
    if (case.sdk, case.dialect) in PLAYS:
        return PLAYS[case.sdk, case.dialect][case.feature]
    function, name = NODE_PLAYS[case.feature]
    directory: Path = request.getfixturevalue("node_sdks")
    return lambda gate: function(gate, directory, f"{NODE[case.sdk, case.dialect]} {name}")


@pytest.mark.engine
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, behind: Serving, seen: dict[str, Seen], request: pytest.FixtureRequest) -> None:
    tag = f"case-{CASES.index(case)}"
    if case.upstream == "llama" and "[upstreams.llama]" not in (behind.directory / "penstock.toml").read_text():
        service_missing("the llama.cpp engine", "xllamacpp is not installed")
    told = _play_of(case, request)(Gate(behind.address, case.upstream, tag))
    if told is not None:
        assert told.input > 0 and told.output > 0
        seen[tag] = told


@pytest.mark.engine
def test_the_ledger_has_what_the_sdks_were_told(behind: Serving, seen: dict[str, Seen]) -> None:
    assert seen, "the cases come before: run the whole module"
    rows = {row["feature"]: row for row in behind.cost("--by", "feature")["rows"]}
    told = {tag: (rows[tag]["input_tokens"], rows[tag]["output_tokens"]) for tag in seen}
    assert told == {tag: tuple(each) for tag, each in seen.items()}
    assert not any(rows[tag]["estimated_requests"] for tag in seen), "all of it was measured"


def test_a_translation_can_be_explained(behind: Serving) -> None:
    body = {"model": "openai-ok", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
    answer = behind.request("POST", "/v1/messages", body)
    request_id = answer.headers["penstock-request-id"]
    assert behind.explain(request_id)["upstream_endpoint"] == "chat.completions"
    told = behind.command("explain", request_id).stdout
    assert "messages, model openai-ok" in told and "translated to chat.completions" in told


def test_every_case_has_a_play_and_every_play_a_case() -> None:
    played = {(sdk, dialect, feature) for (sdk, dialect), features in PLAYS.items() for feature in features}
    played |= {(sdk, dialect, feature) for sdk, dialect in NODE for feature in NODE_PLAYS}
    told = {(case.sdk, case.dialect, case.feature) for case in CASES}
    assert told <= played
    assert played - told == {("openai (Node)", RESPONSES, "broken stream")}
