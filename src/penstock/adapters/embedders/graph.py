"""The ONNX graph of a BERT that turns tokens into vectors of length 1.

Weights stay where they are: the graph only points into the safetensors file, which ONNX Runtime maps. Dense layers work on the tokens of
all texts one after another, without padding; only the scores of attention are padded to the longest text. Heads are put apart and together
by gathering rows, which is cheaper here than transposing.

Inputs (`t` tokens of `b` texts, the longest of `l`): `ids` (t) and `positions` (t); `apart` (b, heads, l): the rows of the queries when
queries, keys and values are seen as rows of one head each; `together` (t, heads): their places in (b, heads, l); `mask` (b, 1, 1, l): 0,
and far below 0 after a text's end; `words` (b, l): each text's tokens; `pool` (b, 1, l): their weights. Output: `vectors` (b, hidden).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from penstock.adapters.embedders.bert import Bert

MICROSOFT: Final = "com.microsoft"
"""the domain of ONNX Runtime's own operators"""
OPSET, OF_MICROSOFT, IR = 20, 1, 10
_TYPES: Final = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}


def graph(bert: Bert) -> bytes:
    """A serialised model without weights: they are read from the folder of `bert.weights`."""
    building = _Building(bert)
    x = building.embeddings()
    for layer in range(bert.layers):
        x = building.layer(layer, x)
    building.pooled(x)
    return bytes(building.model().SerializeToString())


class _Building:
    def __init__(self, bert: Bert) -> None:
        self._bert = bert
        self._nodes: list[NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._small(heads=[-1, bert.hidden // bert.heads], flat=[-1, bert.hidden], one=[1])
        self._small(step=np.array(bert.heads, np.int32), first=np.array(0, np.int64))
        # rows of one head each: of a token's queries first, then of its keys, then of its values
        self._keys = self._node("Add", "apart", "step")
        self._values = self._node("Add", self._keys, "step")

    def embeddings(self) -> str:
        words = self._node("Gather", self._weight("embeddings.word_embeddings.weight"), "ids")
        places = self._node("Gather", self._weight("embeddings.position_embeddings.weight"), "positions")
        kind = self._node("Gather", self._weight("embeddings.token_type_embeddings.weight"), "first")
        return self._norm("embeddings.LayerNorm", self._node("Add", self._node("Add", words, places), kind))

    def layer(self, number: int, x: str) -> str:
        own = f"encoder.layer.{number}."
        x = self._norm(own + "attention.output.LayerNorm", self._node("Add", x, self._attention(own, x)))
        inner = self._node("Gelu", self._dense(own + "intermediate.dense", x))
        return self._norm(own + "output.LayerNorm", self._node("Add", x, self._dense(own + "output.dense", inner)))

    def pooled(self, x: str) -> None:
        """The division by the number of tokens is left out: the length becomes 1 anyway."""
        summed = self._node("Squeeze", self._node("MatMul", "pool", self._node("Gather", x, "words")), "one")
        self._nodes.append(helper.make_node("LpNormalization", [summed], ["vectors"], axis=-1, p=2))

    def model(self) -> ModelProto:
        heads = self._bert.heads
        whole: dict[str, list[str | int]] = {
            "ids": ["t"],
            "positions": ["t"],
            "apart": ["b", heads, "l"],
            "together": ["t", heads],
            "words": ["b", "l"],
        }
        real: dict[str, list[str | int]] = {"pool": ["b", 1, "l"], "mask": ["b", 1, 1, "l"]}
        values = [helper.make_tensor_value_info(name, TensorProto.INT32, shape) for name, shape in whole.items()]
        values += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in real.items()]
        output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["b", self._bert.hidden])
        whole_graph = helper.make_graph(self._nodes, "bert", values, [output], list(self._weights.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, OF_MICROSOFT)]
        return helper.make_model(whole_graph, opset_imports=opsets, ir_version=IR)

    def _attention(self, own: str, x: str) -> str:
        weight, bias = (
            self._node("Concat", *(self._weight(f"{own}attention.self.{name}.{part}") for name in ("query", "key", "value")), axis=0)
            for part in ("weight", "bias")
        )
        rows = self._node("Reshape", self._node("Gemm", x, weight, bias, transB=1), "heads")
        queries, keys, values = (self._node("Gather", rows, places) for places in ("apart", self._keys, self._values))
        scale = (self._bert.hidden // self._bert.heads) ** -0.5
        scores = self._node("FusedMatMul", queries, keys, domain=MICROSOFT, transB=1, alpha=scale)
        mixed = self._node("MatMul", self._node("Softmax", self._node("Add", scores, "mask"), axis=-1), values)
        gathered = self._node("Gather", self._node("Reshape", mixed, "heads"), "together")
        return self._dense(own + "attention.output.dense", self._node("Reshape", gathered, "flat"))

    def _dense(self, name: str, x: str) -> str:
        return self._node("Gemm", x, self._weight(name + ".weight"), self._weight(name + ".bias"), transB=1)

    def _norm(self, name: str, x: str) -> str:
        weight, bias = self._weight(name + ".weight"), self._weight(name + ".bias")
        return self._node("LayerNormalization", x, weight, bias, axis=-1, epsilon=self._bert.epsilon)

    def _node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"{kind}-{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def _small(self, **values: list[int] | NDArray[Any]) -> None:
        for name, value in values.items():
            self._weights[name] = numpy_helper.from_array(np.asarray(value), name)

    def _weight(self, name: str) -> str:
        """The name of a tensor of the file, as 32-bit floats."""
        tensor = self._bert.tensors[name]
        if name not in self._weights:
            value = TensorProto(name=name, data_type=_TYPES[tensor.kind], dims=tensor.shape, data_location=TensorProto.EXTERNAL)
            place = {"location": self._bert.weights.name, "offset": tensor.offset, "length": tensor.length}
            value.external_data.extend(_pair(key, str(told)) for key, told in place.items())
            self._weights[name] = value
        return name if tensor.kind == "F32" else self._node("Cast", name, to=TensorProto.FLOAT)


def _pair(key: str, value: str) -> Any:
    pair = TensorProto().external_data.add()
    pair.key, pair.value = key, value
    return pair
