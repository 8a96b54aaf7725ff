"""What every play of the SDK matrix is given, and what they share: the question, the tool, the picture."""

from typing import Any, NamedTuple

QUESTION = "What does the gate do when the river is high?"
SYSTEM = "You are the operator of a small hydro power plant. Answer briefly. " * 4
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"by": {"type": "integer"}}, "required": ["by"]}
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""one pixel, PNG, base64"""
LONGEST = 400
BROKEN_OFF = "peer closed connection|Connection error|incomplete chunked read"
"""how the SDKs' HTTP clients word an answer that breaks off; which of them is in use depends on the SDK's version"""


class Gate(NamedTuple):
    """A Penstock with the upstream of a case behind it. Models: `ok`, and others by what goes wrong with them."""

    address: str
    upstream: str
    tag: str

    @property
    def base_url(self) -> str:
        """As OpenAI's SDKs want it; Anthropic's add `/v1` to `address` themselves."""
        return f"{self.address}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What marks the requests of this case in the ledger."""
        return {"penstock-tag-feature": self.tag}

    def model(self, how: str = "ok") -> str:
        return f"{self.upstream}-{how}"

    @property
    def simulated(self) -> bool:
        return self.upstream != "llama"

    def check_text(self, text: str) -> None:
        assert text.startswith("This is a simulated answer.") if self.simulated else text.strip(), text


class Seen(NamedTuple):
    """Tokens that an SDK told its user of."""

    input: int
    output: int
