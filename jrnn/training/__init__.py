"""Training: losses, optimiser chains and truncated backpropagation through time."""

from jrnn.training.folding import folded_loss as folded_loss
from jrnn.training.losses import (
    cross_entropy as cross_entropy,
    mean_over_valid as mean_over_valid,
    squared_error as squared_error,
)
from jrnn.training.optimisers import (
    ClipState as ClipState,
    NonFiniteError as NonFiniteError,
    SkipState as SkipState,
    all_finite as all_finite,
    clip_by_global_norm as clip_by_global_norm,
    global_norm as global_norm,
    optimiser as optimiser,
    raise_if_stuck as raise_if_stuck,
    skip_nonfinite as skip_nonfinite,
)
from jrnn.training.tbptt import (
    Chunk as Chunk,
    cut as cut,
    rows as rows,
    train_on_chunks as train_on_chunks,
    truncated_value_and_grad as truncated_value_and_grad,
)
