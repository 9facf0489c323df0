"""Any cell for all time steps at once, by Newton's method with a certificate."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jrnn import checks, forms, options
from jrnn.kernels import remat
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory, project
from jrnn.kernels.linear import Linear
from jrnn.kernels.parallel import newton
from jrnn.kernels.parallel.frames import Frame, frame
from jrnn.kernels.parallel.newton import Steps, System
from jrnn.kernels.parallel.window import (
    Bounds,
    ParallelInfo as ParallelInfo,
    solve_window,
)
from jrnn.kernels.recurrence import METHODS
from jrnn.kernels.recurrence.places import Place, Whole, over
from jrnn.kernels.scan import Scan
from jrnn.types import Cell, State
from jrnn.values import value

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}  # of half precision: four roundings
MEMORY = 2**28  # bytes of Jacobians in one window, if no window is given


@value
class Parallel:
    """Runs any cell for all time steps at once, by Newton's method [1, 2].

    The states h solve `h_t = f(h_t-1, u_t)`. Each iteration computes a new guess h from
    a guess g by

        h_t = f(g_t-1, u_t) + J_t (h_t-1 - g_t-1)        J_t = df/dh at g_t-1

    a linear recurrence, computed for all t by `jrnn.linear_recurrence`. The form of the
    cell says how many entries J couples: 1 ("diagonal"), k ("block", k), or all n.
    Memory is that of T n k numbers. Cells that are linear in the state take one
    iteration.

    **The result is checked.** When the largest residual

        |h_t - f(h_t-1, u_t)| / (1 + |h_t|)

    is at most the tolerance, one more iteration follows, which is quadratically better.
    A window that has not converged after `max_iterations` falls back to computing step
    by step, so the result always equals that of `Scan`. See `jrnn.parallel_info`.

    Gradients are exact, in reverse and forward mode, and are linear recurrences too.
    Second derivatives raise an error. So does a cell with `ClipCotangent`: clipping
    depends on the gradient that arrives at a step, so the backward pass needs a loop.
    docs/parallel.md explains when this kernel is faster than a loop; on a CPU it never
    is.

    Attributes:
      tolerance: Bound of the residual; None for 1e-10 in float64, 1e-5 in float32 and
        four roundings in half precision.
      max_iterations: Number of iterations after which a window falls back to a loop.
      window: Number of steps that are solved together, one window after the other;
        None for all, or as many as keep the Jacobians in 256 MiB.
      order: How linear recurrences are computed: the `method` of
        `jrnn.linear_recurrence`.
      mesh_axis: Name of an axis of the mesh in use (`jax.set_mesh`) over which time is
        sharded. Each device iterates on its piece, and in every iteration each device
        exchanges one state and one Jacobian. There is then one window.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell, xs = jrnn.ParaGRU(hidden_size=4), jnp.ones((2, 50, 3))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, xs, method=jrnn.kernels.Parallel())
      >>> bool(jnp.allclose(ys, jrnn.scan(cell, params, None, xs, method="scan")[1]))
      True

    References:
      [1] Lim et al., 2023, https://arxiv.org/abs/2309.12252
      [2] Danieli et al., 2023, https://arxiv.org/abs/2309.16318
    """

    tolerance: float | None = None
    max_iterations: int = 32
    window: int | None = None
    order: str = "auto"
    mesh_axis: str | None = None

    def __post_init__(self) -> None:
        options.check(self)
        if self.tolerance is not None:
            checks.positive("tolerance", self.tolerance)
        checks.one_of("order", self.order, ["auto", *METHODS])
        if self.window is not None and self.mesh_axis is not None:
            raise ValueError(
                "window and mesh_axis cannot be combined, because devices solve their "
                f"pieces together; got {self.window} and {self.mesh_axis!r}."
            )

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""
        del inputs, options
        if _edits(cell):
            return (
                f"computes the gradient of a loss, and {cell} replaces it by another "
                "one in every step"
            )
        return None

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell along time."""
        if isinstance(cell.form, forms.Linear):
            return self._linear.run(cell, loop, options)
        if not loop.inputs.time:
            return Scan().run(cell, loop, options)
        states, us, _ = self._solve(cell, loop, options)
        last = 0 if options.reverse else -1
        final = jax.tree.map(lambda leaf: leaf[last], states)
        ys = cell.read(loop.params, states, us) if options.outputs else None
        return Trajectory(final, states if options.states else None, ys)

    def measure(self, cell: Cell, loop: Loop, options: Options) -> ParallelInfo:
        """Returns how the iterations go."""
        if not isinstance(cell.form, forms.Linear):
            return self._solve(cell, loop, options)[2]
        whole = options._replace(states=True, outputs=False)
        states = self._linear.run(cell, loop, whole).states
        system = self._system(cell, loop, options)
        steps = _steps(cell, loop)
        h = system.frame.pack(states)
        after, _ = newton.jacobians(system, steps, newton.before(system, steps, h))
        residual = newton.residual(after, h)[None]
        return ParallelInfo(jnp.ones(1, jnp.int32), residual, residual < jnp.inf)

    def _solve(
        self, cell: Cell, loop: Loop, options: Options
    ) -> tuple[State, Any, ParallelInfo]:
        """Returns the states after all steps, projected inputs, and how it went."""
        system = self._system(cell, loop, options)
        time, *axes = jax.tree.leaves(loop.inputs.xs)[0].shape
        length = self.window or _fitting(system.frame, loop.state)
        windows = 1 if self.mesh_axis is not None else -(-time // min(time, length))
        length = -(-time // windows)
        if idle := windows * length - time:
            shape = (time, *axes[: len(axes) - cell.feature_axes])
            inputs = remat.lengthened(loop.inputs, idle, shape)
            loop = loop._replace(inputs=inputs)
        steps = _steps(cell, loop)
        tolerance = self.tolerance or _tolerance(system.frame)
        bounds = Bounds(tolerance, self.max_iterations)
        if windows == 1:
            states, info = self._whole(system, bounds, steps, time)
        else:
            states, info = _windows(system, bounds, steps, windows)
        states, us = jax.tree.map(lambda leaf: leaf[:time], (states, steps.us))
        return states, us, info

    def _whole(
        self, system: System, bounds: Bounds, steps: Steps, time: int
    ) -> tuple[State, ParallelInfo]:
        """Solves all steps together, on one device or split over a mesh axis."""
        fixed, moving = steps[:3], steps[3:]

        def run(place: Place, moving: Any, fixed: Any) -> tuple[State, ParallelInfo]:
            here = system._replace(place=place)
            return solve_window(here, bounds, Steps(*fixed, *moving))

        results = (True, False)  # states have an axis of time
        states, info = over(self.mesh_axis, time, run, moving, fixed, results)
        return states, jax.tree.map(lambda leaf: leaf[None], info)

    @property
    def _linear(self) -> Linear:
        return Linear(self.order, self.mesh_axis)

    def _system(self, cell: Cell, loop: Loop, options: Options) -> System:
        batch_axes = jax.tree.leaves(loop.inputs.xs)[0].ndim - 1 - cell.feature_axes
        planes = frame(cell.structure, loop.state, batch_axes)
        return System(cell, planes, options.reverse, self.order, Whole())


@value
class Report:
    """Runs `Parallel`, and returns a `ParallelInfo` instead of a final state.

    Attributes:
      kernel: The kernel to report on.

    Example:
      >>> import jrnn
      >>> jrnn.kernels.Report(jrnn.kernels.Parallel())  # `jrnn.parallel_info` runs it
      Report(kernel=Parallel())
    """

    kernel: Parallel

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""
        return self.kernel.refusal(cell, inputs, options)

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell along time. The outputs are zeros."""
        checks.at_least("the number of time steps", loop.inputs.time, 1)
        us = project(cell, loop.params, loop.inputs)
        first = jax.tree.map(lambda leaf: leaf[0], us)
        shape = jax.eval_shape(cell.read, loop.params, loop.state, first)
        ys = jnp.zeros((loop.inputs.time, *shape.shape), shape.dtype)
        return Trajectory(self.kernel.measure(cell, loop, options), None, ys)


def _steps(cell: Cell, loop: Loop) -> Steps:
    params, state, fresh, inputs = loop
    restart = inputs.restart
    if restart is not None and inputs.keep is not None:
        restart = restart & inputs.keep
    us = project(cell, params, inputs)
    return Steps(params, state, fresh, us, inputs.keep, restart)


def _windows(
    system: System, bounds: Bounds, steps: Steps, number: int
) -> tuple[State, ParallelInfo]:
    """Solves windows of equal length one after the other.

    The backward pass recomputes the Jacobians of one window at a time.
    """
    moving = (steps.us, steps.keep, steps.restart)
    folded = jax.tree.map(lambda a: a.reshape(number, -1, *a.shape[1:]), moving)
    last = 0 if system.reverse else -1

    @jax.checkpoint
    def body(state: State, slices: Any) -> tuple[State, Any]:
        us, keep, restart = slices
        piece = steps._replace(state=state, us=us, keep=keep, restart=restart)
        states, info = solve_window(system, bounds, piece)
        return jax.tree.map(lambda leaf: leaf[last], states), (states, info)

    reverse = system.reverse
    _, (states, info) = lax.scan(body, steps.state, folded, reverse=reverse)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), states), info


def _tolerance(planes: Frame) -> float:
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(planes.like)}
    return max(
        TOLERANCE.get(str(dtype), 4 * float(jnp.finfo(dtype).eps)) for dtype in dtypes
    )


def _fitting(planes: Frame, state: State) -> int:
    """Returns the number of steps whose Jacobians fit into the memory of a window."""
    sizes = [leaf.size for leaf in jax.tree.leaves(state)]
    entries = sum(sizes)
    if planes.dense:
        entries *= sum(leaf.size for leaf in jax.tree.leaves(planes.like))
    else:
        entries *= len(sizes)
    return max(1, MEMORY // max(1, entries * jnp.dtype(planes.dtype).itemsize))


def _edits(cell: Any) -> bool:
    """Whether a cell, or one inside of it, edits its cotangents."""
    inner = [getattr(cell, field.name) for field in dataclasses.fields(cell)]
    return getattr(cell, "edits_cotangent", False) or any(
        _edits(field) for field in inner if isinstance(field, Cell)
    )
