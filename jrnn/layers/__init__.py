"""Layers: functions from sequences to sequences. A model is a layer too."""

from jrnn.cells.attention import attend_to as attend_to
from jrnn.layers.attention import (
    Attention as Attention,
    AttentionLayerParams as AttentionLayerParams,
)
from jrnn.layers.beam import Beams as Beams, beam_search as beam_search
from jrnn.layers.bridge import Bridge as Bridge, BridgeParams as BridgeParams
from jrnn.layers.compose import Residual as Residual, Sequential as Sequential
from jrnn.layers.dropout import Dropout as Dropout
from jrnn.layers.encoder_decoder import (
    EncoderDecoder as EncoderDecoder,
    EncoderDecoderParams as EncoderDecoderParams,
)
from jrnn.layers.generation import generate as generate, sample as sample
from jrnn.layers.map import Map as Map
from jrnn.layers.pointwise import (
    Dense as Dense,
    DenseParams as DenseParams,
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
from jrnn.layers.tied import Tied as Tied, TiedParams as TiedParams
