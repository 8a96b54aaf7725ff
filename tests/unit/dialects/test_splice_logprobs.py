"""Probabilities of tokens: asked for by bytes, and blanked by bytes."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.splice import SpliceError, ask_for_logprobs, blank_logprobs


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (b'{"model":"m"}', b'{"logprobs":true,"top_logprobs":5,"model":"m"}'),
        (b'{ "logprobs" : false, "model":"m"}', b'{"top_logprobs":5, "logprobs" : true, "model":"m"}'),
        (b'{"top_logprobs":0,"logprobs":null}', b'{"top_logprobs":5,"logprobs":true}'),
        (
            b'{"messages":[{"content":"say \\"logprobs\\""}]}',
            b'{"logprobs":true,"top_logprobs":5,"messages":[{"content":"say \\"logprobs\\""}]}',
        ),
    ],
)
def test_asking(body: bytes, asked: bytes) -> None:
    assert ask_for_logprobs(body, 5) == asked


@pytest.mark.parametrize(
    ("answer", "blank"),
    [
        (b'{"choices":[{"index":0,"logprobs":{"content":[{"token":"]}"}]},"x":1}],"id":"a"}',
         b'{"choices":[{"index":0,"logprobs":null,"x":1}],"id":"a"}'),
        (b'{"choices" : [ {"logprobs" :\n[1]} , {"logprobs":{}} ]}', b'{"choices" : [ {"logprobs" :\nnull} , {"logprobs":null} ]}'),
        (b'{"choices":[{"message":{"logprobs":1}}]}', b'{"choices":[{"message":{"logprobs":1}}]}'),
        (b'{"choices":[{"message":{"content":"\\"logprobs\\":1"}}]}', b'{"choices":[{"message":{"content":"\\"logprobs\\":1"}}]}'),
        (b'{"choices":[]}', b'{"choices":[]}'),
        (b'{"choices":null,"logprobs":1}', b'{"choices":null,"logprobs":1}'),
        (b'{"choices":[1,{"logprobs":1}]}', b'{"choices":[1,{"logprobs":1}]}'),
        (b"{}", b"{}"),
    ],
)  # fmt: skip
def test_blanking(answer: bytes, blank: bytes) -> None:
    assert blank_logprobs(answer) == blank


@pytest.mark.parametrize("answer", [b"", b"[1]", b"null", b'{"choices":[{'])
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(SpliceError):
        blank_logprobs(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.sampled_from(["logprobs", "]", "}", '"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["logprobs", "a", "choices", "]"]), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(["logprobs", "message", "index"]), JSON, max_size=3), max_size=3), JSON, st.booleans())
def test_only_the_probabilities_of_choices_change(choices: list[dict[str, object]], other: object, spaced: bool) -> None:
    answer = {"a": other, "choices": choices, "z": other}
    body = orjson.dumps(answer, option=orjson.OPT_INDENT_2 if spaced else 0)
    expected = {**answer, "choices": [{name: None if name == "logprobs" else value for name, value in each.items()} for each in choices]}
    assert orjson.loads(blank_logprobs(body)) == expected
