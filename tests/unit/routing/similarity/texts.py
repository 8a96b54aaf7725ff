"""Texts as people type them and as nobody would: for what must hold of all texts."""

from hypothesis import strategies as st

PIECES = st.sampled_from([
    "what", "Where is", "how much", "not", "don't", "can\u2019t", "never",
    "Paris", "London", "from", "to", "us", "US", "cheapest", "dearest",
    "on", "off", "before", "after", "3", "3.5", "1,000", "v2.1", "2024-01-05", "5am", "seven", "twice", "-", "-4", "$5", "%", "`x = 1`",
    '"quoted"', "\u201cso\u201d", "`", '"', "C++", "node.js", "mp3", "\u6771\u4eac", "\u043c\u043e\u0441\u043a\u0432\u0430", "\U0001f642",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0301", "\ufb01", "\u0130", "\ud800", "\u0663", "\u00b2", "\x00", "recieve", "receive", "acount", "account", "'s", "?", "\n", " ",
])  # fmt: skip
ANY = st.lists(PIECES, max_size=10).map(" ".join) | st.lists(PIECES, max_size=6).map("".join) | st.text(max_size=60)
