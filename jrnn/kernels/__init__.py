"""Ways to compute a scan, chosen by the form of the cell.

A kernel is a frozen value with the methods of `Kernel`. `Scan` is the definition; the
others compute the same, faster or with less memory. `choose` picks one.
"""

import jax

from jrnn import checks, forms
from jrnn.kernels import remat as remat
from jrnn.kernels.base import (
    Inputs as Inputs,
    Kernel as Kernel,
    Loop as Loop,
    Options as Options,
    Trajectory as Trajectory,
    project as project,
)
from jrnn.kernels.cudnn import CuDNN as CuDNN
from jrnn.kernels.gated import Gated as Gated, Layout as Layout
from jrnn.kernels.linear import Linear as Linear
from jrnn.kernels.pallas import Pallas as Pallas
from jrnn.kernels.parallel import (
    Parallel as Parallel,
    ParallelInfo as ParallelInfo,
    Report as Report,
)
from jrnn.kernels.recurrence import linear_recurrence as linear_recurrence
from jrnn.kernels.scan import Scan as Scan
from jrnn.types import Cell

METHODS: dict[str, Kernel] = {
    "scan": Scan(),
    "linear": Linear(),
    "gated": Gated(),
    "cudnn": CuDNN(),
    "pallas": Pallas(),
    "parallel": Parallel(),
}


def named(method: str | Kernel) -> Kernel | None:
    """Returns the kernel for a name or a kernel; None for "auto".

    Raises:
      ValueError: if there is no kernel of this name.
      TypeError: if it is neither a name nor a kernel.

    Example:
      >>> named("linear"), named("auto")
      (Linear(), None)
    """
    if isinstance(method, str):
        checks.one_of("method", method, ["auto", *METHODS])
        return METHODS.get(method)
    if isinstance(method, type) or not hasattr(method, "refusal"):
        raise TypeError(
            f"method must be a name, one of {['auto', *METHODS]}, or a kernel such as "
            f"`jrnn.kernels.Gated()`, got {method!r}."
        )
    return method


def choose(
    method: str | Kernel, cell: Cell, inputs: Inputs, options: Options
) -> Kernel:
    """Returns the kernel of this method, or for "auto" the best one for the cell.

    Raises:
      ValueError: if the requested kernel does not exist or cannot run this cell.

    Example:
      >>> import jax.numpy as jnp, jrnn
      >>> inputs = Inputs(jnp.ones((5, 2, 3)), None, None, None)  # time first
      >>> choose("auto", jrnn.LSTM(4), inputs, Options())
      Gated()
      >>> choose("auto", jrnn.IndRNN(4), inputs, Options())
      Scan()
    """
    kernel = named(method)
    if kernel is None:
        return _automatic(cell, inputs, options)
    reason = kernel.refusal(cell, inputs, options)
    if kernel != Scan() and _symbolic(inputs):
        reason = "needs sizes that are numbers, not symbols as in an export"
    if reason is not None:
        raise ValueError(
            f"method={method!r} {reason}. Use method='auto', which chooses a kernel "
            "that supports the cell."
        )
    return kernel


def _automatic(cell: Cell, inputs: Inputs, options: Options) -> Kernel:
    """Returns the kernel that "auto" takes; never one that needs a device."""
    if _symbolic(inputs) or inputs.time < 2:
        return Scan()  # nothing to choose by, or no loop
    if Gated().refusal(cell, inputs, options) is None:
        return Gated()
    stored = options.outputs or options.states  # else the scan stores nothing
    if stored and options.remat is None and isinstance(cell.form, forms.Linear):
        return Linear()
    return Scan()


def _symbolic(inputs: Inputs) -> bool:
    """Whether sizes are symbols, as where a scan is exported for any batch and time."""
    shape = jax.tree.leaves(inputs.xs)[0].shape
    return not all(isinstance(size, int) for size in shape)
