"""Whether a cell can be computed for all time steps at once, and how that goes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn import checks, forms, kernels
from jrnn.diagnostics.jacobians import all_blocks, spectral_norm
from jrnn.diagnostics.lyapunov import lyapunov_spectrum
from jrnn.diagnostics.replay import by_example, replay
from jrnn.kernels import Parallel, ParallelInfo, Report
from jrnn.scanning import scan
from jrnn.types import Array, Cell, Params, State


def parallel_info(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: Any,
    *,
    method: Parallel | None = None,
    **how: Any,
) -> ParallelInfo:
    """Returns how Newton's method converges in a scan with `method="parallel"`.

    Args:
      cell: The cell.
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


class Parallelizable(NamedTuple):
    """Whether Newton's method computes a cell for all time steps at once."""

    exponent: Array  # [*batch] largest Lyapunov exponent, in nats per step
    norms: Array  # [*batch, T] spectral norm of the Jacobian of each step
    iterations: int  # of Newton's method on these inputs, in its slowest window
    converged: bool  # whether no window was computed step by step
    method: str  # what `method="auto"` takes
    why: str  # the reason, and what can be expected of `method="parallel"`


def parallelizable(
    cell: Cell,
    params: Params,
    xs: Any,
    *,
    state: State | None = None,
    method: Parallel | None = None,
) -> Parallelizable:
    """Returns whether all time steps of a cell can be computed at once, and why.

    A recurrence that is linear in the state always can. Any other recurrence can if it
    is predictable: if the largest Lyapunov exponent is negative, small errors of a
    guess decay, and Newton's method needs few iterations [1]. The exponent is a mean
    over time. If the norms of single Jacobians are far above one, errors first grow,
    and more iterations are needed. So this function counts the iterations instead of
    estimating them. Similar inputs need about the same number, for any length.

    It returns Python numbers and strings, and cannot be called under `jax.jit`.

    Args:
      cell: The cell.
      params: Its parameters.
      xs: Inputs [*batch, T, features], such as those of one batch.
      state: State before the first step; None for the initial state.
      method: The kernel; None for `jrnn.kernels.Parallel()`.

    Returns:
      The exponent, the norms, the iterations, and what "auto" takes and why.

    Example:
      >>> import jax, jrnn
      >>> cell = jrnn.ParaGRU(hidden_size=8)
      >>> params = cell.init(jax.random.key(0), input_size=4)
      >>> xs = jax.random.normal(jax.random.key(1), (200, 4))
      >>> found = jrnn.diagnostics.parallelizable(cell, params, xs)
      >>> float(found.exponent) < 0, found.converged, found.method
      (True, True, 'scan')
      >>> print(found.why)
      "auto" takes "scan" because ... "parallel" takes 3 iterations...

    References:
      [1] Gonzalez et al., 2025, https://arxiv.org/abs/2508.16817
    """
    exponents = lyapunov_spectrum(cell, params, state, xs, exponents=1).exponents
    exponent = exponents[..., 0]
    info = parallel_info(cell, params, state, xs, method=method)
    iterations, converged = int(info.iterations.max()), bool(info.converged.all())
    name = _automatic(cell, xs)
    reason = f'"auto" takes "{name}" because {_reason(cell)}'
    if not isinstance(cell.form, forms.Linear):
        largest = float(jnp.max(exponent))
        reason += " " + _expectation(largest, iterations, converged)
    norms = by_example(
        lambda state, xs: spectral_norm(
            all_blocks(cell, replay(cell, params, state, xs))
        ),
        cell,
        state,
        xs,
    )
    return Parallelizable(exponent, norms, iterations, converged, name, reason)


def _automatic(cell: Cell, xs: Any) -> str:
    batch, _ = checks.sequence_axes(xs, cell.feature_axes, time_major=False)
    first = jax.tree.map(lambda a: jnp.moveaxis(a, len(batch), 0), xs)
    inputs = kernels.Inputs(first, None, None, None)
    chosen = kernels.choose("auto", cell, inputs, kernels.Options())
    return next(name for name, value in kernels.METHODS.items() if value == chosen)


def _reason(cell: Cell) -> str:
    if isinstance(cell.form, forms.Linear):
        return "the cell is linear in the state: one linear recurrence computes it."
    return (
        "the time of Newton's method depends on the parameters, and on a CPU it is "
        "longer than that of a loop."
    )


def _expectation(exponent: float, iterations: int, converged: bool) -> str:
    if converged:
        return (
            f'"parallel" takes {iterations} iterations, each a linear recurrence: the '
            f"largest exponent is {exponent:.3g}, so guesses converge."
        )
    failed = f'"parallel" did not converge in {iterations} iterations'
    if exponent >= 0:
        return (
            f"{failed}: the largest exponent is {exponent:.3g}, not negative, and the "
            "steps of a chaotic sequence cannot be predicted."
        )
    return (
        f"{failed} although the largest exponent is {exponent:.3g}: some Jacobians are "
        "large. Shorter windows, as in `Parallel(window=64)`, may converge."
    )


_OPTIONS = ["lengths", "mask", "reset", "key", "reverse", "time_major"]
