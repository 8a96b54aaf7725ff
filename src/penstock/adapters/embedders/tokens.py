"""Texts as a BERT reads them: the tokens of their beginning."""

import os
from collections.abc import Sequence
from typing import Final

from tokenizers import Tokenizer

from penstock.adapters.embedders.bert import TOKENIZER, Bert
from penstock.ports.embedder import EmbedderError

FIRST_CUT, LAST_CUT = 4_096, 32_768
"""characters of a text that are looked at: nearly always the first suffice, and what comes after the last is never seen"""
_SLACK: Final = 102
"""tokens that a cut may have spoilt: a longer word is one token (WordPiece's `max_input_chars_per_word`), and one ends the text"""


class Tokens:
    """A tokenizer. For one thread at a time; other threads run meanwhile."""

    def __init__(self, bert: Bert) -> None:
        """Raises `EmbedderError` for a file that is no tokenizer's."""
        # its pool has a thread per core, for which a few short texts have no use; the library has no other switch
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        path = bert.folder / TOKENIZER
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as problem:  # the library raises nothing more exact
            raise EmbedderError(f"{path} cannot be read: {problem}", "Install or download the model anew") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._most, self._lower = bert.most_tokens, bert.lower

    def of(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, as many as the model takes, with those that begin and end it."""
        encoded = self._tokenizer.encode_batch_fast([self._readable(text[:FIRST_CUT]) for text in texts])
        return [self._bounded(text, encoding.ids) for text, encoding in zip(texts, encoded, strict=True)]

    def _bounded(self, text: str, ids: list[int]) -> list[int]:
        cut = FIRST_CUT
        while len(text) > cut and cut < LAST_CUT and len(ids) < self._most + _SLACK:  # long words, wide gaps
            cut *= 8
            ids = self._tokenizer.encode_batch_fast([self._readable(text[:cut])])[0].ids
        return ids if len(ids) <= self._most else [*ids[: self._most - 1], ids[-1]]

    def _readable(self, text: str) -> str:
        """Without halves of surrogate pairs, which JSON can carry and UTF-8 cannot."""
        text = text.lower() if self._lower else text
        return text if text.isascii() else text.encode("utf-8", "replace").decode()
