"""ONNX: layers as models of native RNN, LSTM and GRU operators, and back.

to_model, from_model             whole models; these need the `onnx` package
to_operator, from_operator       one operator as arrays, differentiable
state_to_onnx, state_from_onnx   initial and final states of one operator
"""

from jrnn.interop.onnx_operators import (
    Operator as Operator,
    from_operator as from_operator,
    state_from_onnx as state_from_onnx,
    state_to_onnx as state_to_onnx,
    to_operator as to_operator,
)
from jrnn.interop.onnx_reader import from_model as from_model
from jrnn.interop.onnx_writer import to_model as to_model
