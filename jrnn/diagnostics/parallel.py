"""Whether a cell can be computed for all time steps at once, and how that goes."""

from typing import Any

from jrnn import checks
from jrnn.kernels import Parallel, ParallelInfo, Report
from jrnn.scanning import scan
from jrnn.types import Cell, Params, State


def parallel_info(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    method: Parallel | None = None,
    **how: Any,
) -> ParallelInfo:
    """Returns how Newton's method goes where `jrnn.scan` has `method="parallel"`.

    Args:
      cell: What to compute in each step.
      params: Its parameters.
      state: State before the first step; None for the initial state.
      xs: Inputs [*batch, T, features].
      method: The kernel; None for `jrnn.kernels.Parallel()`.
      **how: `lengths`, `mask`, `reset`, `key`, `reverse` and `time_major`, as for
        `jrnn.scan`.

    Returns:
      For each window of time: the number of iterations, the largest residual
      `|h_t - f(h_t-1, u_t)| / (1 + |h_t|)`, and whether it converged. A window that did
      not is computed step by step.

    Raises:
      ValueError: if an argument does not fit, as in `jrnn.scan`.
      TypeError: if `method` is not a `Parallel`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ParaGRU(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> info = jrnn.parallel_info(cell, params, None, jnp.ones((2, 50, 3)))
      >>> bool(info.converged.all()), info.iterations.shape
      (True, (1,))
    """
    kernel = Parallel() if method is None else method
    if not isinstance(kernel, Parallel):
        raise TypeError(
            "method must be a `jrnn.kernels.Parallel(...)`, or None for its defaults, "
            f"got {method!r}."
        )
    for name in how:
        checks.one_of("an option of parallel_info", name, _OPTIONS)
    return scan(cell, params, state, xs, method=Report(kernel), **how)[0]


_OPTIONS = ["lengths", "mask", "reset", "key", "reverse", "time_major"]
