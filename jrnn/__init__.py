"""jrnn: recurrent neural networks in JAX, as pure functions."""

from jrnn import (
    cells as cells,
    diagnostics as diagnostics,
    forms as forms,
    initializers as initializers,
    interop as interop,
    kernels as kernels,
    layers as layers,
    sequences as sequences,
    testing as testing,
    text as text,
    training as training,
)
from jrnn.cells import (
    GRU as GRU,
    HGRN as HGRN,
    JANET as JANET,
    LEM as LEM,
    LRU as LRU,
    LSTM as LSTM,
    MGU as MGU,
    MLSTM as MLSTM,
    QRNN as QRNN,
    RGLRU as RGLRU,
    S5 as S5,
    SLSTM as SLSTM,
    SRU as SRU,
    AntisymmetricRNN as AntisymmetricRNN,
    AttentionCell as AttentionCell,
    ClipCotangent as ClipCotangent,
    ClipState as ClipState,
    ConvGRU as ConvGRU,
    ConvLSTM as ConvLSTM,
    CoRNN as CoRNN,
    CutRecurrentGradient as CutRecurrentGradient,
    Elman as Elman,
    IndRNN as IndRNN,
    InputDropout as InputDropout,
    Jordan as Jordan,
    LayerNormed as LayerNormed,
    LayerNormGRU as LayerNormGRU,
    LayerNormLSTM as LayerNormLSTM,
    LearnedState as LearnedState,
    MinGRU as MinGRU,
    MinLSTM as MinLSTM,
    MixedPrecision as MixedPrecision,
    ModReLURNN as ModReLURNN,
    MultiHead as MultiHead,
    Orthogonal as Orthogonal,
    OutputToOutput as OutputToOutput,
    ParaGRU as ParaGRU,
    ParaLSTM as ParaLSTM,
    PeepholeLSTM as PeepholeLSTM,
    ProjectedGRU as ProjectedGRU,
    ProjectedLSTM as ProjectedLSTM,
    RecurrentDropout as RecurrentDropout,
    RefineGateLSTM as RefineGateLSTM,
    ResetBeforeGRU as ResetBeforeGRU,
    ResidualCell as ResidualCell,
    UnICORNN as UnICORNN,
    WeightDrop as WeightDrop,
    Zoneout as Zoneout,
    activations as activations,
)
from jrnn.diagnostics import (
    check_structure as check_structure,
    parallel_info as parallel_info,
)
from jrnn.kernels import linear_recurrence as linear_recurrence
from jrnn.layers import (
    Attention as Attention,
    Bidirectional as Bidirectional,
    Bridge as Bridge,
    Dense as Dense,
    Dropout as Dropout,
    Embed as Embed,
    EncoderDecoder as EncoderDecoder,
    LayerNorm as LayerNorm,
    Map as Map,
    Recurrent as Recurrent,
    Residual as Residual,
    Sequential as Sequential,
    Stack as Stack,
    Tied as Tied,
    beam_search as beam_search,
    generate as generate,
)
from jrnn.masks import resets_from_segments as resets_from_segments
from jrnn.scanning import scan as scan, step as step
from jrnn.types import Cell as Cell, Layer as Layer
from jrnn.values import value as value

__version__ = "0.1.0"
# Classes and functions, which `help(jrnn)` lists; the modules are attributes.
__all__ = [
    name
    for name, each in globals().items()
    if not name.startswith("_") and not isinstance(each, type(cells))
]
