"""Training: losses, optimizers, regularizers, truncated BPTT and other gradients."""

from jrnn.training import (
    batches as batches,
    checkpoints as checkpoints,
    peers as peers,
    processes as processes,
    stopping as stopping,
)
from jrnn.training.clipping import per_layer as per_layer, zclip as zclip
from jrnn.training.fit import Fit as Fit, History as History, fit as fit
from jrnn.training.folding import folded_loss as folded_loss
from jrnn.training.gradients import (
    ARTBP as ARTBP,
    BPTT as BPTT,
    RTRL as RTRL,
    TBPTT as TBPTT,
    EProp as EProp,
    Method as Method,
    SnAp1 as SnAp1,
    train_along as train_along,
    value_and_grad as value_and_grad,
)
from jrnn.training.losses import (
    accuracy as accuracy,
    cross_entropy as cross_entropy,
    mean_over_valid as mean_over_valid,
    squared_error as squared_error,
)
from jrnn.training.optimizers import (
    NonFiniteError as NonFiniteError,
    all_finite as all_finite,
    clip_gradients as clip_gradients,
    gradient_norm as gradient_norm,
    optimizer as optimizer,
    raise_if_stuck as raise_if_stuck,
    skip_nonfinite as skip_nonfinite,
)
from jrnn.training.regularizers import (
    activation_penalty as activation_penalty,
    add_to_average as add_to_average,
    averaging_starts as averaging_starts,
    gradient_flossing as gradient_flossing,
    random_chunks as random_chunks,
    start_average as start_average,
    temporal_activation_penalty as temporal_activation_penalty,
)
from jrnn.training.tbptt import (
    Chunk as Chunk,
    split_into_chunks as split_into_chunks,
    stream_to_rows as stream_to_rows,
    train_on_chunks as train_on_chunks,
    truncated_value_and_grad as truncated_value_and_grad,
)
