"""Ways to compute a scan, chosen by what the cell declares.

Each file is one kernel with two doors: `run` takes what `plain.run` takes and returns
what it returns, and `refusal` says why it cannot run a cell. `plain` is the definition;
the others compute the same, faster or with less memory. `choose` picks one.
"""

from typing import Any

import jax

from jrnn import checks
from jrnn.kernels import (
    cudnn as cudnn,
    gated as gated,
    linear as linear,
    pallas as pallas,
    plain as plain,
    remat as remat,
)
from jrnn.kernels.linear import linear_recurrence as linear_recurrence
from jrnn.kernels.plain import (
    Inputs as Inputs,
    Options as Options,
    Trajectory as Trajectory,
    project as project,
)
from jrnn.types import Cell, State

METHODS: dict[str, Any] = {
    "scan": plain,
    "linear": linear,
    "gated": gated,
    "cudnn": cudnn,
    "pallas": pallas,
}


def choose(  # type: ignore[no-untyped-def]
    method: str, cell: Cell, state: State, inputs: Inputs, options: Options
):
    """Returns the kernel that `method` names, or for "auto" the fastest that applies.

    Raises:
      ValueError: if a kernel asked for by name does not exist or cannot run this cell.
    """
    checks.one_of("method", method, ["auto", *METHODS])
    if method == "auto":
        return METHODS[_fastest(cell, state, inputs, options)].run
    reason = METHODS[method].refusal(cell, inputs, options)
    if method != "scan" and _symbolic(inputs):
        reason = "needs sizes that are numbers, not symbols as in an export"
    if reason is not None:
        raise ValueError(
            f"method={method!r} {reason}. Use method='auto', which takes it only where "
            "it applies."
        )
    return METHODS[method].run


def _fastest(cell: Cell, state: State, inputs: Inputs, options: Options) -> str:
    """Names the kernel that "auto" takes."""
    if _symbolic(inputs):
        return "scan"  # nothing to choose by
    many = jax.tree.leaves(inputs.xs)[0].shape[0] > 1
    stored = options.outputs or options.states  # else the plain scan stores nothing
    stored = stored and options.remat is None
    linear_runs = linear.refusal(cell, inputs, options) is None
    if many and stored and linear_runs and linear.pays(state):
        return "linear"
    if many and gated.refusal(cell, inputs, options) is None:
        return "gated"
    return "scan"


def _symbolic(inputs: Inputs) -> bool:
    """Whether sizes are symbols, as where a scan is exported for any batch and time."""
    shape = jax.tree.leaves(inputs.xs)[0].shape
    return not all(isinstance(size, int) for size in shape)
