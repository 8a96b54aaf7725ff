"""Addresses hold secrets (the path of a hook, a password): what is said of trouble with one shows nothing of it but the host."""

import re

_SHORTEST = 4
"""characters of a part that is masked: shorter ones are in every text"""
_MASK = "***"


def masked(text: str, address: str, host: str = "") -> str:
    """`text` without the parts of `address`; `host` may be seen."""
    text = text.replace(address, _MASK)
    parts = {part for part in re.split(r"[/:@?&=#;,]+", address.partition("://")[2]) if len(part) >= _SHORTEST and part != host}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, _MASK)
    return text
