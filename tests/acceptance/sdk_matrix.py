"""The table of clients: which SDK, in which dialect, does what, against which upstream behind Penstock.

Data only: `test_sdk_matrix.py` plays every case, and `docs/generate.py` writes docs/reference/sdks.md from the same table.
"""

from typing import NamedTuple


class Behind(NamedTuple):
    """An upstream behind Penstock. `speaks` are the dialects that pass untranslated."""

    name: str
    title: str
    speaks: tuple[str, ...]


class Case(NamedTuple):
    """One thing that an SDK does."""

    sdk: str
    dialect: str
    feature: str
    upstream: str

    @property
    def id(self) -> str:
        return f"{self.sdk}: {self.dialect}, {self.feature}, {self.upstream}"


CHAT, RESPONSES, MESSAGES = "chat completions", "responses", "messages"
OPENAI, ANTHROPIC, LLAMA = (
    Behind("openai", "OpenAI-compatible, chat only", (CHAT,)),
    Behind("anthropic", "Anthropic", (MESSAGES,)),
    Behind("llama", "llama.cpp, native", (CHAT, RESPONSES, MESSAGES)),
)
UPSTREAMS = (OPENAI, ANTHROPIC, LLAMA)
ON_TWO = (OPENAI, ANTHROPIC)
"""llama.cpp serves a tiny model of random weights in the tests: it calls no tools and shows no faults"""

FEATURES = {
    "answer": "a whole answer, with its usage as the ledger has it",
    "stream": "a streamed answer, put together by the SDK, with its usage as the ledger has it",
    "tools": "a tool is called, its result is sent, an answer comes",
    "async": "the asynchronous client, streaming",
    "errors": "typed exceptions: unknown model (ours), bad request, rate limit and failure (the upstream's)",
    "broken stream": "a stream that breaks off raises, and is never taken for whole",
    "count tokens": "tokens are counted, at no cost",
    "models": "the models are listed",
    "image": "an image reaches the model, and is counted",
    "thinking": "the model's thoughts come as the SDK shows them",
}

_ROWS: tuple[tuple[str, str, tuple[str, ...], tuple[Behind, ...]], ...] = (
    ("openai (Python)", CHAT, ("answer", "stream"), UPSTREAMS),
    ("openai (Python)", CHAT, ("tools", "async", "errors", "broken stream", "models", "image"), ON_TWO),
    ("openai (Python)", RESPONSES, ("answer", "stream"), UPSTREAMS),
    ("openai (Python)", RESPONSES, ("tools", "async", "errors", "broken stream", "image", "thinking"), ON_TWO),
    ("anthropic (Python)", MESSAGES, ("answer", "stream"), UPSTREAMS),
    ("anthropic (Python)", MESSAGES, ("tools", "async", "errors", "broken stream", "models", "image", "thinking"), ON_TWO),
    ("anthropic (Python)", MESSAGES, ("count tokens",), (ANTHROPIC, LLAMA)),
    ("langchain_openai", CHAT, ("answer", "stream"), UPSTREAMS),
    ("langchain_openai", CHAT, ("tools", "errors"), ON_TWO),
    ("langchain_openai", RESPONSES, ("answer", "stream", "tools"), ON_TWO),
    ("langchain_anthropic", MESSAGES, ("answer",), UPSTREAMS),
    ("langchain_anthropic", MESSAGES, ("stream", "tools", "errors"), ON_TWO),  # it misses the input that llama.cpp's stream tells first
    ("llm", CHAT, ("answer", "stream", "tools", "errors"), ON_TWO),
    ("llm", RESPONSES, ("answer", "stream", "tools"), ON_TWO),
    ("openai (Node)", CHAT, ("answer", "stream", "tools", "errors", "broken stream"), ON_TWO),
    ("openai (Node)", RESPONSES, ("answer", "stream", "tools", "errors"), ON_TWO),
    ("@anthropic-ai/sdk (Node)", MESSAGES, ("answer", "stream", "tools", "errors", "broken stream"), ON_TWO),
)

CASES = tuple(
    Case(sdk, dialect, feature, upstream.name)
    for sdk, dialect, features, upstreams in _ROWS
    for feature in features
    for upstream in upstreams
)


def markdown() -> str:
    """The page of the reference: one row for each SDK, dialect and feature, one column for each upstream."""
    lines = [
        "# SDKs",
        "",
        "What the tests play against a running Penstock, client by client. `native`: the bytes pass untranslated; `translated`: the",
        "upstream speaks another dialect; empty: not played. The simulated engine stands for the first two upstreams, a real llama.cpp",
        "for the third.",
        "",
        "| client | dialect | what | " + " | ".join(each.title for each in UPSTREAMS) + " |",
        "|---|---|---|" + "---|" * len(UPSTREAMS),
    ]
    rows = dict.fromkeys((case.sdk, case.dialect, case.feature) for case in CASES)
    played = set(CASES)
    for sdk, dialect, feature in rows:
        cells = [
            ("native" if dialect in each.speaks else "translated") if Case(sdk, dialect, feature, each.name) in played else ""
            for each in UPSTREAMS
        ]
        lines.append(f"| {sdk} | {dialect} | {feature} | " + " | ".join(cells) + " |")
    lines += ["", "| what | means |", "|---|---|", *(f"| {feature} | {meaning} |" for feature, meaning in FEATURES.items())]
    return "\n".join(lines) + "\n"
