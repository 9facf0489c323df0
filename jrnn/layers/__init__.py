"""Layers: functions from sequences to sequences. A model is a layer too."""

from jrnn.layers.compose import Residual as Residual, Sequential as Sequential
from jrnn.layers.generation import generate as generate, sample as sample
from jrnn.layers.map import Map as Map
from jrnn.layers.pointwise import (
    Dense as Dense,
    DenseParams as DenseParams,
    Dropout as Dropout,
    Embed as Embed,
    EmbedParams as EmbedParams,
    LayerNorm as LayerNorm,
    LayerNormParams as LayerNormParams,
)
from jrnn.layers.recurrent import (
    Bidirectional as Bidirectional,
    BidirectionalParams as BidirectionalParams,
    BidirectionalState as BidirectionalState,
    Recurrent as Recurrent,
)
from jrnn.layers.stack import Stack as Stack
