"""Cells: one time step each, as pure functions; and wrappers from cell to cell."""

from jrnn.cells import activations as activations
from jrnn.cells.antisymmetric import (
    AntisymmetricParams as AntisymmetricParams,
    AntisymmetricRNN as AntisymmetricRNN,
)
from jrnn.cells.attention import (
    AttentionCell as AttentionCell,
    AttentionCellParams as AttentionCellParams,
    AttentionParams as AttentionParams,
    AttentionState as AttentionState,
    Memory as Memory,
)
from jrnn.cells.base import (
    GatedCell as GatedCell,
    GatedParams as GatedParams,
    HiddenCell as HiddenCell,
    HiddenState as HiddenState,
    PlainCell as PlainCell,
    VectorCell as VectorCell,
)
from jrnn.cells.clip_cotangent import ClipCotangent as ClipCotangent
from jrnn.cells.clip_state import ClipState as ClipState
from jrnn.cells.conv_gru import ConvGRU as ConvGRU, ConvGRUParams as ConvGRUParams
from jrnn.cells.conv_lstm import (
    ConvLSTM as ConvLSTM,
    ConvLSTMParams as ConvLSTMParams,
)
from jrnn.cells.cut_gradient import CutRecurrentGradient as CutRecurrentGradient
from jrnn.cells.dropout import (
    InputDropout as InputDropout,
    RecurrentDropout as RecurrentDropout,
)
from jrnn.cells.elman import (
    Elman as Elman,
    ElmanParams as ElmanParams,
    ElmanState as ElmanState,
)
from jrnn.cells.gru import (
    GRU as GRU,
    GRUParams as GRUParams,
    GRUState as GRUState,
    ResetBeforeGRU as ResetBeforeGRU,
)
from jrnn.cells.hgrn import HGRN as HGRN
from jrnn.cells.indrnn import (
    IndRNN as IndRNN,
    IndRNNParams as IndRNNParams,
    IndRNNState as IndRNNState,
)
from jrnn.cells.input_gated import (
    InputGatedParams as InputGatedParams,
)
from jrnn.cells.janet import JANET as JANET
from jrnn.cells.layer_norm_cells import (
    LayerNormGRU as LayerNormGRU,
    LayerNormGRUParams as LayerNormGRUParams,
    LayerNormLSTM as LayerNormLSTM,
    LayerNormLSTMParams as LayerNormLSTMParams,
)
from jrnn.cells.layer_normed import (
    LayerNormed as LayerNormed,
    LayerNormedParams as LayerNormedParams,
)
from jrnn.cells.lem import LEM as LEM, LEMParams as LEMParams, LEMState as LEMState
from jrnn.cells.lru import LRU as LRU, LRUParams as LRUParams, LRUState as LRUState
from jrnn.cells.lstm import (
    LSTM as LSTM,
    LSTMParams as LSTMParams,
    LSTMState as LSTMState,
)
from jrnn.cells.mgu import MGU as MGU, MGUParams as MGUParams, MGUState as MGUState
from jrnn.cells.minimal import MinGRU as MinGRU, MinLSTM as MinLSTM
from jrnn.cells.mlstm import (
    MLSTM as MLSTM,
    MLSTMParams as MLSTMParams,
    MLSTMState as MLSTMState,
)
from jrnn.cells.modrelu import (
    ModReLUParams as ModReLUParams,
    ModReLURNN as ModReLURNN,
)
from jrnn.cells.multi_head import MultiHead as MultiHead
from jrnn.cells.orthogonal import Orthogonal as Orthogonal
from jrnn.cells.oscillators import (
    CoRNN as CoRNN,
    CoRNNParams as CoRNNParams,
    OscillatorState as OscillatorState,
    UnICORNN as UnICORNN,
    UnICORNNParams as UnICORNNParams,
)
from jrnn.cells.output_recurrence import (
    Jordan as Jordan,
    OutputParams as OutputParams,
    OutputState as OutputState,
    OutputToOutput as OutputToOutput,
)
from jrnn.cells.paragru import (
    ParaGRU as ParaGRU,
    ParaGRUParams as ParaGRUParams,
    ParaGRUState as ParaGRUState,
)
from jrnn.cells.paralstm import (
    ParaLSTM as ParaLSTM,
    ParaLSTMParams as ParaLSTMParams,
    ParaLSTMState as ParaLSTMState,
)
from jrnn.cells.peephole import (
    PeepholeLSTM as PeepholeLSTM,
    PeepholeLSTMParams as PeepholeLSTMParams,
)
from jrnn.cells.precision import MixedPrecision as MixedPrecision
from jrnn.cells.projected_gru import (
    ProjectedGRU as ProjectedGRU,
    ProjectedGRUParams as ProjectedGRUParams,
    ProjectedGRUState as ProjectedGRUState,
)
from jrnn.cells.projected_lstm import (
    ProjectedLSTM as ProjectedLSTM,
    ProjectedLSTMParams as ProjectedLSTMParams,
)
from jrnn.cells.qrnn import (
    QRNN as QRNN,
    QRNNParams as QRNNParams,
    QRNNState as QRNNState,
)
from jrnn.cells.refine_gate import RefineGateLSTM as RefineGateLSTM
from jrnn.cells.rglru import (
    RGLRU as RGLRU,
    RGLRUParams as RGLRUParams,
    RGLRUState as RGLRUState,
)
from jrnn.cells.s5 import S5 as S5, S5Params as S5Params, S5State as S5State
from jrnn.cells.slstm import (
    SLSTM as SLSTM,
    SLSTMParams as SLSTMParams,
    SLSTMState as SLSTMState,
)
from jrnn.cells.sru import SRU as SRU, SRUParams as SRUParams, SRUState as SRUState
from jrnn.cells.weight_drop import WeightDrop as WeightDrop
from jrnn.cells.wrapper_base import Wrapper as Wrapper
from jrnn.cells.wrappers import (
    LearnedState as LearnedState,
    LearnedStateParams as LearnedStateParams,
    ResidualCell as ResidualCell,
    Zoneout as Zoneout,
)
