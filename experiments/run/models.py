"""Recurrent layers from the options of a run."""

import difflib

import jrnn
from experiments.errors import UserError
from experiments.run.options import Options
from jrnn import kernels
from jrnn.types import Cell, Layer


def cells() -> dict[str, type[Cell]]:
    """Returns the cells that need only a size, by the name of the option `--cell`."""
    found = {}
    for name, value in vars(jrnn.cells).items():
        if isinstance(value, type) and issubclass(value, Cell):
            try:
                value(3)  # type: ignore[call-arg]
            except (TypeError, ValueError):
                continue
            found[name.lower()] = value
    return found


def make_cell(options: Options) -> Cell:
    """Returns the cell that the options name.

    Raises:
      UserError: If there is no such cell; the message names the nearest.

    Example:
      >>> make_cell(Options(cell="gru", hidden_size=4))
      GRU(hidden_size=4)
    """
    known = cells()
    if options.cell in known:
        return known[options.cell](options.hidden_size)  # type: ignore[call-arg]
    near = difflib.get_close_matches(options.cell, known, n=1)
    hint = f" Do you mean {near[0]}?" if near else ""
    raise UserError(
        f"--cell {options.cell} is not a cell.{hint} Cells are {', '.join(known)}."
    )


def recurrent(options: Options, last: bool = False) -> list[Layer]:
    """Returns recurrent layers, with dropout above each.

    Args:
      options: The options of the run.
      last: Whether the top layer returns the output of the last step only.

    Raises:
      UserError: If a cell or a method does not exist.

    Example:
      >>> recurrent(Options(hidden_size=4, layers=2))
      [Recurrent(cell=LSTM(hidden_size=4)), Recurrent(cell=LSTM(hidden_size=4))]
    """
    if options.method not in ["auto", *kernels.METHODS]:
        raise UserError(
            f"--method {options.method} is none of auto, {', '.join(kernels.METHODS)}."
        )
    cell = make_cell(options)
    layers: list[Layer] = []
    for number in range(1, options.layers + 1):
        ends = last and number == options.layers
        method = options.method
        layers.append(jrnn.Recurrent(cell, method=method, return_sequence=not ends))
        if options.dropout:
            # One mask for a whole sequence needs fewer random values.
            layers.append(jrnn.Dropout(options.dropout, locked=not ends))
    return layers
