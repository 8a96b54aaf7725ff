"""A BERT for sentences in ONNX Runtime, on the CPU of this process."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from penstock.adapters.embedders.bert import read
from penstock.adapters.embedders.graph import graph
from penstock.adapters.embedders.layout import groups, inputs
from penstock.adapters.embedders.tokens import Tokens
from penstock.adapters.onnx_runtime import onnxruntime
from penstock.ports.embedder import EmbedderError, Vectors

_ONLY_ERRORS: Final = 3


class Model:
    """Texts in, vectors out. For one thread at a time; other threads run while it computes."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Raises `EmbedderError`."""
        self.bert = read(folder)
        self._tokens = Tokens(self.bert)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ONLY_ERRORS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle pool would burn its cores
        options.add_session_config_entry("session.set_denormal_as_zero", "1")  # what masks leave would take a hundred times as long
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")  # exact sizes, not the arena's powers of two
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self.bert.weights.parent))
        try:
            self._session = onnxruntime.InferenceSession(graph(self.bert), options, providers=["CPUExecutionProvider"])
        except Exception as problem:  # the library's errors have no base of their own
            raise EmbedderError(
                f"ONNX Runtime cannot load the model in {folder}: {problem}", "Is onnxruntime 1.22 or newer installed?"
            ) from None
        list(self.vectors(["?"]))  # what is broken shows now; the first request finds the weights in memory

    def vectors(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Places of texts and their vectors, group by group, the shortest texts first. Raises `EmbedderError`."""
        tokens = self._tokens.of(texts)
        for places in groups([len(each) for each in tokens]):
            feed = inputs([tokens[place] for place in places], self.bert.heads, self.bert.pooling)
            try:
                [found] = self._session.run(None, feed)
            except Exception as problem:  # the same
                raise EmbedderError(f"ONNX Runtime failed: {problem}") from None
            if not np.isfinite(found).all():
                raise EmbedderError("the model answers with numbers that are none", "Install or download the weights anew")
            yield places, found
