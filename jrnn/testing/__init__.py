"""Checks a cell against the laws that every cell obeys.

`check_cell` needs no oracle: it compares what a cell computes in one way with what it
computes in another. It cannot tell whether the equations are those of a paper. For
that, compare the cell with numpy written from its docstring.
"""

import jax

from jrnn import options
from jrnn.testing.laws import LAWS as LAWS
from jrnn.testing.subjects import (
    B as B,
    Subject as Subject,
    T as T,
    assert_close as assert_close,
    make_subject as make_subject,
    randomize as randomize,
    weighted_sum as weighted_sum,
)
from jrnn.types import Cell, Params, State


def check_cell(
    cell: Cell,
    input_size: int | tuple[int, ...],
    *,
    params: Params | None = None,
    state: State | None = None,
) -> None:
    """Checks every law of `LAWS`, in float64; for the tests of a cell of your own.

    Args:
      cell: The cell to check.
      input_size: The number of input features, or the shape of one input.
      params: Parameters to check it with, float64; None for random ones of the shapes
        that `init` returns.
      state: A state for a batch of `B` rows; None for a random one.

    Raises:
      AssertionError: if the cell breaks a law; the message says which and how.

    Example:
      >>> import jrnn
      >>> jrnn.testing.check_cell(jrnn.GRU(hidden_size=4), input_size=3)
    """
    options.is_cell("cell", cell)
    with jax.enable_x64(True):
        subject = make_subject(cell, input_size, params=params, state=state)
        for name, law in LAWS.items():
            try:
                law(subject)
            except Exception as error:
                message = f"{cell} breaks the law that {name}: {error}"
                raise AssertionError(message) from error
