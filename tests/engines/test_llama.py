"""The real engine is what the other tests take it for: OpenAI-compatible, deterministic, and honest about usage."""

import urllib.request

import openai
import pytest

pytestmark = pytest.mark.engine
QUESTION: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "what does the gate do?"}]


@pytest.fixture
def client(llama_engine: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=llama_engine, api_key="none", max_retries=0)


def test_chat_is_deterministic_and_counted(client: openai.OpenAI) -> None:
    answers = [client.chat.completions.create(model="tiny-llama", messages=QUESTION, max_tokens=12, temperature=0) for _ in range(2)]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content
    for answer in answers:
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == 32
        assert answer.usage.completion_tokens == 12
    assert answers[1].usage is not None
    assert answers[1].usage.prompt_tokens_details is not None
    assert answers[1].usage.prompt_tokens_details.cached_tokens == 31


def test_stream_ends_with_a_usage_chunk(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny-llama", messages=QUESTION, max_tokens=5, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).split()
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_completions_and_embeddings(client: openai.OpenAI) -> None:
    completion = client.completions.create(model="tiny-llama", prompt="the water", max_tokens=4, temperature=0)
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (4, 4)
    embedding = client.embeddings.create(model="tiny-llama", input="the water", encoding_format="float")
    assert len(embedding.data[0].embedding) == 64
    assert embedding.usage.prompt_tokens == 4


def test_metrics(llama_engine: str) -> None:
    with urllib.request.urlopen(llama_engine.removesuffix("/v1") + "/metrics") as answer:
        assert b"llamacpp:prompt_tokens_total" in answer.read()
