"""Carries the proof of a thought's origin through a dialect that has another provider's field for it.

Each provider takes back only what it sealed itself, and a client sends back what it was given. So OpenAI's encrypted reasoning travels
through Messages as a signature, and Anthropic's signatures through Responses as encrypted content, marked so that no provider is
ever shown another's.
"""

from penstock.domain.dialects.canonical import Thinking

_OPENAI = "penstock.openai:"
_SIGNED = "penstock.anthropic:"
_REDACTED = "penstock.anthropic.redacted:"


def as_signature(thinking: Thinking) -> str:
    """What stands in `signature` of Messages; empty where the thought's origin is unproven."""
    if thinking.encrypted is not None:
        return f"{_OPENAI}{thinking.id or ''}:{thinking.encrypted}"
    return thinking.signature or ""


def from_signature(text: str, signature: str) -> Thinking:
    """The thought that a client of Messages sends back."""
    if signature.startswith(_OPENAI):
        name, _, encrypted = signature.removeprefix(_OPENAI).partition(":")
        return Thinking(text, encrypted=encrypted, id=name or None)
    return Thinking(text, signature=signature or None)


def as_encrypted(thinking: Thinking) -> str | None:
    """What stands in `encrypted_content` of Responses; None where the thought's origin is unproven."""
    if thinking.redacted is not None:
        return _REDACTED + thinking.redacted
    return _SIGNED + thinking.signature if thinking.signature is not None else thinking.encrypted


def from_encrypted(text: str, encrypted: str | None, name: str | None) -> Thinking:
    """The thought that a client of Responses sends back."""
    if encrypted is None:
        return Thinking(text, id=name)
    if encrypted.startswith(_REDACTED):
        return Thinking(redacted=encrypted.removeprefix(_REDACTED))
    if encrypted.startswith(_SIGNED):
        return Thinking(text, signature=encrypted.removeprefix(_SIGNED))
    return Thinking(text, encrypted=encrypted, id=name)
