"""Changes one member of a JSON body by bytes: every byte outside the splice stays as the client sent it.

Bodies are valid JSON objects (a parser has accepted them). The fast paths rest on one fact: in valid JSON a key spelled
`"model"` with its quotes is a whole token, unless its first quote is escaped inside a string; counting occurrences and ruling out
`\\u` spellings therefore tells when the only candidate is the member itself. Otherwise a linear scanner walks the top level.
"""

import re

import orjson

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"[ \t\r\n]*+"
_OPEN = re.compile(_SPACE + rb"\{")
_EMPTY = re.compile(_SPACE + rb"\}")
_KEY = re.compile(_SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE, re.DOTALL)
_NEXT = re.compile(_SPACE + b"([,}])")
_COMMA = re.compile(_SPACE + b",")
_WHOLE_STRING = re.compile(_STRING, re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]++")
_UP_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+', re.DOTALL)
_MODEL_MEMBER = re.compile(rb'"model"' + _SPACE + b":" + _SPACE + b"(" + _STRING + b")", re.DOTALL)
_INCLUDE_USAGE = b'{"include_usage":true}'

Member = tuple[bytes, int, int, int]
"""A member of an object: its key as spelled (with quotes), and the offsets of key, value and the value's end."""


class SpliceError(ValueError):
    """The body is not the JSON object that it was said to be."""


def replace_model(body: bytes, name: str) -> bytes:
    """The body with the value of its top-level `model` replaced (every one, should the key be there twice).

    The caller has read a top-level `model` from the body. Raises `SpliceError` when there is none.
    """
    value = orjson.dumps(name)
    if body.count(b'"model"') == 1 and b"\\u006" not in body:
        match = _MODEL_MEMBER.match(body, body.find(b'"model"'))
        if match is not None:
            start, end = match.span(1)
            return body[:start] + value + body[end:]
    spans = [(start, end) for key, _, start, end in members(body) if _is(key, "model")]
    if not spans:
        raise SpliceError("the body has no top-level `model`")
    return _replace(body, spans, value)


def ask_for_usage(body: bytes) -> bytes:
    """The body with top-level `stream_options.include_usage` true.

    The member is inserted, added to the object that is there, or put in place of null. A `stream_options` of any other type stays:
    refusing it is the upstream's business.
    """
    if b'"stream_options"' not in body and b"\\u00" not in body:
        return _insert_first(body, 0, b'"stream_options":' + _INCLUDE_USAGE)
    found = [member for member in members(body) if _is(member[0], "stream_options")]
    if not found:
        return _insert_first(body, 0, b'"stream_options":' + _INCLUDE_USAGE)
    for _, _, start, end in reversed(found):
        if body[start : start + 1] == b"{":
            body = _set(body, start, "include_usage", b"true")
        elif body[start:end] == b"null":
            body = body[:start] + _INCLUDE_USAGE + body[end:]
    return body


def add_member(body: bytes, key: str, json_value: bytes) -> bytes:
    """The body with top-level `key` set to a value already encoded as JSON: replaced where it is, else inserted first."""
    return _set(body, 0, key, json_value)


def remove_member(body: bytes, key: str) -> bytes:
    """The body without top-level `key` and the comma that went with it; the body itself when the key is not there."""
    found = members(body)
    cuts: list[tuple[int, int]] = []
    kept_before = False
    for index, (name, key_start, _, end) in enumerate(found):
        if not _is(name, key):
            kept_before = True
        elif kept_before:
            cuts.append((found[index - 1][3], end))
        else:
            cuts.append((key_start, found[index + 1][1] if index + 1 < len(found) else end))
    return _replace(body, cuts, b"") if cuts else body


def ask_for_logprobs(body: bytes, top: int) -> bytes:
    """The body with `logprobs` true and `top_logprobs` as given, in place of what it says of them."""
    return add_member(add_member(body, "top_logprobs", str(top).encode()), "logprobs", b"true")


def blank_logprobs(body: bytes) -> bytes:
    """An answer of chat completions, or one chunk of its stream, with null for the `logprobs` of each choice. Raises `SpliceError`."""
    spans: list[tuple[int, int]] = []
    for key, _, start, end in members(body):
        if _is(key, "choices") and body[start : start + 1] == b"[":
            for at in _elements(body, start, end):
                spans += [(first, last) for name, _, first, last in members(body, at) if _is(name, "logprobs")]
    return _replace(body, spans, b"null") if spans else body


def members(body: bytes, at: int = 0) -> list[Member]:
    """The members of the object that opens at or after white space from `at`, in order. Linear; nested values are skipped.

    Raises `SpliceError` where the bytes are not a JSON object.
    """
    opening = _OPEN.match(body, at)
    if opening is None:
        raise SpliceError("the body is not a JSON object")
    position = opening.end()
    found: list[Member] = []
    if _EMPTY.match(body, position) is not None:
        return found
    while True:
        key = _KEY.match(body, position)
        if key is None:
            raise SpliceError(f"a key was expected at byte {position}")
        start = key.end()
        end = _value_end(body, start)
        found.append((key[1], key.start(1), start, end))
        following = _NEXT.match(body, end)
        if following is None:
            raise SpliceError(f"`,` or `}}` was expected at byte {end}")
        if following[1] == b"}":
            return found
        position = following.end()


def _elements(body: bytes, start: int, end: int) -> list[int]:
    """Where the objects of an array begin; it holds nothing else."""
    found: list[int] = []
    position = start + 1
    while (opening := _OPEN.match(body, position, end)) is not None:
        found.append(opening.end() - 1)
        following = _COMMA.match(body, _value_end(body, opening.end() - 1), end)
        if following is None:
            break
        position = following.end()
    return found


def _value_end(body: bytes, position: int) -> int:
    opening = body[position : position + 1]
    if opening == b'"' or opening not in (b"{", b"["):
        match = (_WHOLE_STRING if opening == b'"' else _SCALAR).match(body, position)
        if match is None:
            raise SpliceError(f"a value was expected at byte {position}")
        return match.end()
    depth, size = 0, len(body)
    while position < size:
        byte = body[position]
        if byte == 0x7B or byte == 0x5B:
            depth += 1
        elif byte == 0x7D or byte == 0x5D:
            depth -= 1
            if depth == 0:
                return position + 1
        else:
            break
        match = _UP_TO_BRACKET.match(body, position + 1)
        position = match.end() if match is not None else size
    raise SpliceError("a bracket or a quote is never closed")


def _is(spelled: bytes, key: str) -> bool:
    if b"\\" in spelled:
        return bool(orjson.loads(spelled) == key)
    return spelled[1:-1] == key.encode()


def _set(body: bytes, at: int, key: str, json_value: bytes) -> bytes:
    name = orjson.dumps(key)
    spans: list[tuple[int, int]] = []
    if at or name in body or b"\\u" in body:
        spans = [(start, end) for spelled, _, start, end in members(body, at) if _is(spelled, key)]
    return _replace(body, spans, json_value) if spans else _insert_first(body, at, name + b":" + json_value)


def _insert_first(body: bytes, at: int, member: bytes) -> bytes:
    opening = _OPEN.match(body, at)
    if opening is None:
        raise SpliceError("the body is not a JSON object")
    end = opening.end()
    comma = b"" if _EMPTY.match(body, end) is not None else b","
    return b"".join((body[:end], member, comma, body[end:]))


def _replace(body: bytes, spans: list[tuple[int, int]], value: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    for start, end in spans:
        parts += (body[at:start], value)
        at = end
    parts.append(body[at:])
    return b"".join(parts)
