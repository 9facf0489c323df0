"""Checks the properties ("laws") that hold for every cell.

`check_cell` needs no reference implementation: it compares results that a cell computes
in different ways. It cannot check that the equations match a paper. For that, compare
the cell with a NumPy implementation written from its docstring.
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
    """Checks all laws for a cell, in float64. Use it in the tests of your own cell.

    Args:
      cell: The cell to check.
      input_size: The number of input features, or the shape of one input.
      params: Parameters to check it with, float64; None for random ones with the shapes
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
