"""Recurrent layers from the options of a run."""

import dataclasses
import difflib
import functools
from collections.abc import Callable
from typing import Any

import jax

import jrnn
from experiments.errors import UserError
from experiments.run.options import Options
from jrnn import initializers, kernels
from jrnn.types import Cell, Layer

HEADS = 2  # of --cell "multihead(...)"
LONGEST = 200  # steps that units of --cell "chrono(...)" remember at first
OPTIONS: dict[str, Any] = {  # of cells that need more than a size, from the size
    "Jordan": lambda size: {"output_features": size},
    "OutputToOutput": lambda size: {"output_features": size},
    "ProjectedGRU": lambda size: {"output_features": max(1, size // 2)},
    "ProjectedLSTM": lambda size: {"output_features": max(1, size // 2)},
    "S5": lambda size: {"features": size},
}
# Cells whose inputs have the size of their outputs: a linear layer below sees to it.
SAME_SIZE = (jrnn.ResidualCell, jrnn.RGLRU, jrnn.S5)


def chrono(cell: Any) -> Cell:
    """Draws the forget biases of a gated cell for memories of up to 200 steps.

    Example:
      >>> chrono(jrnn.LSTM(4)).forget_bias
      Chrono(longest=200)
    """
    if not hasattr(cell, "forget_bias"):
        raise ValueError("chrono needs a cell with a forget gate, such as lstm or gru.")
    return dataclasses.replace(cell, forget_bias=initializers.Chrono(LONGEST))


WRAPPERS: dict[str, Any] = {
    "chrono": chrono,
    "cutrecurrentgradient": jrnn.CutRecurrentGradient,
    "layernormed": jrnn.LayerNormed,
    "learnedstate": jrnn.LearnedState,
    "multihead": lambda cell: jrnn.MultiHead(cell, heads=HEADS),
    "orthogonal": jrnn.Orthogonal,
    "residualcell": jrnn.ResidualCell,
}


def cells() -> dict[str, Callable[[int], Cell]]:
    """Returns functions from a size to a cell, by the name of the option `--cell`."""
    found: dict[str, Callable[[int], Cell]] = {}
    for name, value in vars(jrnn.cells).items():
        if isinstance(value, type) and issubclass(value, Cell):
            more = OPTIONS.get(name, lambda size: {})
            make = functools.partial(_make, value, more)
            try:
                make(4)
            except (TypeError, ValueError):
                continue
            found[name.lower()] = make
    return found


def _make(cell: Any, more: Any, size: int) -> Cell:
    return cell(size, **more(size))


def make_cell(options: Options) -> Cell:
    """Returns the cell that the options name.

    Raises:
      UserError: If there is no such cell (the message names the nearest), or the size
        does not fit it.

    Example:
      >>> make_cell(Options(cell="gru", hidden_size=4))
      GRU(hidden_size=4)
      >>> make_cell(Options(cell="multihead(gru)", hidden_size=4))
      MultiHead(cell=GRU(hidden_size=2), heads=2)
    """
    size = options.hidden_size
    wrapper, _, inner = options.cell.partition("(")
    try:
        if wrapper in WRAPPERS and inner.endswith(")"):
            heads = HEADS if wrapper == "multihead" else 1
            if size % heads:
                raise ValueError(f"the size must be a multiple of {heads} heads.")
            part = dataclasses.replace(
                options, cell=inner[:-1], hidden_size=size // heads
            )
            return WRAPPERS[wrapper](make_cell(part))
        known = cells()
        if options.cell in known:
            return known[options.cell](size)
    except (TypeError, ValueError) as error:
        raise UserError(unfit(options, error)) from None
    near = difflib.get_close_matches(options.cell.lower(), known, n=1)
    hint = f" Do you mean {near[0]}?" if near else ""
    raise UserError(
        f"--cell {options.cell} is not a cell.{hint} Cells are {', '.join(known)}. "
        f"Wrappers, as in 'multihead(gru)', are {', '.join(WRAPPERS)}."
    )


def unfit(options: Options, error: Exception) -> str:
    """Says in one line that a size or a wrapper does not fit a cell."""
    why = " ".join(str(error).split())
    return f"--cell {options.cell} with --hidden-size {options.hidden_size}: {why}"


def check_cell(make: Callable[[Any], Cell], options: Options) -> None:
    """Initializes the cell, and asks the kernel of `--method` whether it runs it.

    Only training needs the kernel, so a run can be exported where it is missing.

    Args:
      make: `Task.cell`.
      options: The options of the run.

    Raises:
      UserError: If a wrapper does not support the cell, there is no such kernel, or it
        refuses the cell.
    """
    try:
        cell = make(options)
        draw = functools.partial(cell.init, input_size=options.hidden_size)
        jax.eval_shape(draw, jax.random.key(0))
    except (TypeError, ValueError) as error:
        raise UserError(unfit(options, error)) from None
    kernel = find_kernel(options)
    if kernel is None:
        return
    xs = jax.ShapeDtypeStruct((2, options.batch_size, options.hidden_size), "float32")
    inputs = kernels.Inputs(xs, None, None, None)
    reason = kernel.refusal(cell, inputs, kernels.Options())
    if reason is not None:
        raise UserError(
            f"--method {options.method} with --cell {options.cell}: it {reason}. Use "
            "--method auto, which chooses a kernel that supports the cell."
        )


def find_kernel(options: Options) -> kernels.Kernel | None:
    """Returns the kernel of `--method`; None for auto.

    Raises:
      UserError: If there is no such kernel.
    """
    if options.method not in ["auto", *kernels.METHODS]:
        raise UserError(
            f"--method must be auto or one of {', '.join(kernels.METHODS)}, got "
            f"{options.method}."
        )
    return kernels.METHODS.get(options.method)


def recurrent(
    options: Options,
    last: bool = False,
    both: bool = False,
    cell: Cell | None = None,
) -> list[Layer]:
    """Returns recurrent layers, with dropout above each.

    Args:
      options: The options of the run.
      last: Whether the top layer returns the output of the last step only.
      both: Whether each layer reads in both directions.
      cell: What `Task.cell` returns, if the task wraps the cell that the options name.

    Raises:
      UserError: If a cell or a method does not exist.

    Example:
      >>> recurrent(Options(hidden_size=4, layers=2))
      [Recurrent(cell=LSTM(hidden_size=4)), Recurrent(cell=LSTM(hidden_size=4))]
    """
    find_kernel(options)  # says if there is no such method
    named = make_cell(options)
    below = [jrnn.Dense(options.hidden_size)] if isinstance(named, SAME_SIZE) else []
    cell = named if cell is None else cell
    layers: list[Layer] = []
    for number in range(1, options.layers + 1):
        ends = last and number == options.layers
        method = options.method
        layers += below
        layer = jrnn.Recurrent(cell, method=method, return_sequence=not ends)
        layers.append(jrnn.Bidirectional(layer) if both else layer)
        if options.dropout:
            # One mask for a whole sequence needs fewer random values.
            layers.append(jrnn.Dropout(options.dropout, locked=not ends))
    return layers
