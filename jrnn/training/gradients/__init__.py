"""Many gradients of a loss over sequences, behind one signature."""

from jrnn.training.gradients.driver import (
    train_along as train_along,
    value_and_grad as value_and_grad,
)
from jrnn.training.gradients.methods import (
    ARTBP as ARTBP,
    BPTT as BPTT,
    RTRL as RTRL,
    TBPTT as TBPTT,
    EProp as EProp,
    Method as Method,
    SnAp1 as SnAp1,
)
