"""The request that every load sends: a short chat completion; `mark` makes it another one."""

import json

PROMPT = "You are a helpful assistant that answers questions about geography. Keep the answers short, factual and friendly."
QUESTION = "What is the capital of France, and since when has it been the capital? Please answer in one or two sentences."


def body(model: str, mark: str) -> bytes:
    """The JSON of a request."""
    messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": f"{QUESTION} {mark}"}]
    return json.dumps({"model": model, "messages": messages, "max_tokens": 128, "temperature": 0.2}).encode()
