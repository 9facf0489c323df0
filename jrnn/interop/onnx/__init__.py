"""ONNX: layers as models of native RNN, LSTM and GRU operators, and back.

to_model, from_model             whole models; these need the `onnx` package
to_operator, from_operator       one operator as arrays; differentiable
state_to_onnx, state_from_onnx   the initial and final states of one operator
"""

from typing import TYPE_CHECKING

from jrnn.interop.common.lazy import lazy
from jrnn.interop.onnx.operators import (
    Operator as Operator,
    from_operator as from_operator,
    state_from_onnx as state_from_onnx,
    state_to_onnx as state_to_onnx,
    to_operator as to_operator,
)

if TYPE_CHECKING:
    from jrnn.interop.onnx.reader import from_model as from_model
    from jrnn.interop.onnx.writer import to_model as to_model

__getattr__, __dir__ = lazy(
    __name__, members={"from_model": "reader", "to_model": "writer"}
)
