"""Gradient methods for losses over sequences, with one interface."""

from jrnn.training.gradients.driver import (
    train_along as train_along,
    value_and_grad as value_and_grad,
)
from jrnn.training.gradients.methods import (
    ARTBP as ARTBP,
    BPTT as BPTT,
    TBPTT as TBPTT,
    Method as Method,
)
from jrnn.training.gradients.online import (
    RTRL as RTRL,
    EProp as EProp,
    SnAp1 as SnAp1,
)
