"""jrnn: recurrent neural networks in JAX, as pure functions."""

from jrnn import (
    diagnostics as diagnostics,
    initializers as initializers,
    interop as interop,
    kernels as kernels,
    training as training,
)
from jrnn.cells import (
    GRU as GRU,
    LRU as LRU,
    LSTM as LSTM,
    MGU as MGU,
    ClipCotangent as ClipCotangent,
    ConvLSTM as ConvLSTM,
    ConvLSTMParams as ConvLSTMParams,
    Elman as Elman,
    ElmanParams as ElmanParams,
    ElmanState as ElmanState,
    GRUParams as GRUParams,
    GRUState as GRUState,
    IndRNN as IndRNN,
    IndRNNParams as IndRNNParams,
    IndRNNState as IndRNNState,
    LayerNormed as LayerNormed,
    LayerNormedParams as LayerNormedParams,
    LearnedState as LearnedState,
    LearnedStateParams as LearnedStateParams,
    LRUParams as LRUParams,
    LRUState as LRUState,
    LSTMParams as LSTMParams,
    LSTMState as LSTMState,
    MGUParams as MGUParams,
    MGUState as MGUState,
    MixedPrecision as MixedPrecision,
    ParaGRU as ParaGRU,
    ParaGRUParams as ParaGRUParams,
    ParaGRUState as ParaGRUState,
    PeepholeLSTM as PeepholeLSTM,
    PeepholeLSTMParams as PeepholeLSTMParams,
    ProjectedLSTM as ProjectedLSTM,
    ProjectedLSTMParams as ProjectedLSTMParams,
    ResetBeforeGRU as ResetBeforeGRU,
    ResidualCell as ResidualCell,
    WeightDrop as WeightDrop,
    Zoneout as Zoneout,
    activations as activations,
)
from jrnn.diagnostics import check_structure as check_structure
from jrnn.kernels import linear_recurrence as linear_recurrence
from jrnn.layers import (
    Bidirectional as Bidirectional,
    BidirectionalParams as BidirectionalParams,
    BidirectionalState as BidirectionalState,
    Dense as Dense,
    DenseParams as DenseParams,
    Dropout as Dropout,
    Embed as Embed,
    EmbedParams as EmbedParams,
    LayerNorm as LayerNorm,
    LayerNormParams as LayerNormParams,
    Recurrent as Recurrent,
    Residual as Residual,
    Sequential as Sequential,
    generate as generate,
)
from jrnn.masks import resets_from_segments as resets_from_segments
from jrnn.scanning import scan as scan, step as step
from jrnn.types import (
    AdditiveCell as AdditiveCell,
    Cell as Cell,
    GatedCell as GatedCell,
    Layer as Layer,
    LinearCell as LinearCell,
)

__version__ = "0.1.0"
