"""Recurrences that are linear in the state: rings, orders, and their derivatives."""

from jrnn.kernels.recurrence.linear_recurrence import (
    linear_recurrence as linear_recurrence,
)
from jrnn.kernels.recurrence.solve import METHODS as METHODS, solve as solve
