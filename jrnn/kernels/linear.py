"""Cells that are linear in the state, `h' = a * h + b`, for all steps at once."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jrnn import checks, forms
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory, project
from jrnn.kernels.recurrence import METHODS, solve
from jrnn.kernels.recurrence.orders import Steps, advance, constant
from jrnn.kernels.recurrence.places import Place, over
from jrnn.kernels.recurrence.rings import Complex, Planes, Ring, Units
from jrnn.kernels.scan import Scan
from jrnn.masks import where
from jrnn.types import Array, Cell, State
from jrnn.values import value


@value
class Linear:
    """Runs a cell whose form is `jrnn.forms.Linear` with `jrnn.linear_recurrence`.

    "auto" chooses it for such cells. On a CPU with two cores, it took 0.5 to 0.8 of the
    time of the scan for gradients, and 0.6 to 1.3 for values; see docs/parallel.md. On
    a GPU, a scan launches several kernels at every step.

    If the state is complex, as in `LRU`, the order "auto" runs the plain scan on a CPU,
    because the recurrence took 1.1 to 1.2 of its time for gradients.

    Attributes:
      order: "scan", "associative", "chunk", "pallas" or "auto", as in the `method` of
        that function.
      mesh_axis: Name of an axis of the mesh in use over which time is sharded, as in
        that function.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell, xs = jrnn.LRU(hidden_size=4), jnp.ones((2, 5, 3))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> kernel = jrnn.kernels.Linear(order="associative")
      >>> _, ys = jrnn.scan(cell, params, None, xs, method=kernel)
      >>> ys.shape
      (2, 5, 4)
    """

    order: str = "auto"
    mesh_axis: str | None = None

    def __post_init__(self) -> None:
        checks.one_of("order", self.order, ["auto", *METHODS])

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns why this kernel cannot run a cell; None if it can."""
        del inputs, options
        if isinstance(cell.form, forms.Linear):
            return None
        return f"needs a cell whose form is `jrnn.forms.Linear`, but {cell} has another"

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell along time."""
        at_once = functools.partial(self._at_once, cell, options=options)
        form: Any = cell.form
        if not form.pair or self.order != "auto" or self.mesh_axis is not None:
            return at_once(loop)
        by_steps = functools.partial(Scan().run, cell, options=options)
        return lax.platform_dependent(loop, cpu=by_steps, default=at_once)

    def _at_once(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell as one recurrence.

        A padded step is `h' = 1 * h + 0`. A step after a restart does not depend on the
        state before it: `h' = a * 0 + (a * fresh + b)`.
        """
        form: Any = cell.form
        params, state, fresh, inputs = loop
        us = project(cell, params, inputs)
        factors, addends = form.coefficients(params, us)
        ring = Complex() if form.pair else Units()
        restart = inputs.restart
        if restart is not None and inputs.keep is not None:
            restart = restart & inputs.keep
        solved: list[Array] = []
        for planes in _planes(form.pair, factors, addends, state, fresh):
            a, b, h0, new = planes
            if inputs.restart is not None:
                begun = advance(ring, tuple(h[None] for h in new), Steps(a, b, None))
                b = where(inputs.restart, begun, b)
            if inputs.keep is not None:
                a = where(inputs.keep, a, ring.ones(a))
                b = where(inputs.keep, b, jax.tree.map(jnp.zeros_like, b))
            solved += self._states(ring, (a, b, restart), h0, options.reverse)
        leaves, structure = jax.tree.flatten(state)
        typed = [h.astype(leaf.dtype) for h, leaf in zip(solved, leaves, strict=True)]
        states = jax.tree.unflatten(structure, typed)
        final, last = state, 0 if options.reverse else -1
        if inputs.time:
            final = jax.tree.map(lambda leaf: leaf[last], states)
        ys = cell.read(params, states, us) if options.outputs else None
        return Trajectory(final, states if options.states else None, ys)

    def _states(
        self, ring: Ring, steps: Any, h0: Planes, reverse: bool
    ) -> Sequence[Array]:
        a, b, restart = steps
        same = a if constant(Steps(*steps)) else None  # every device gets it

        def run(place: Place, moving: Any, fixed: Any) -> Planes:
            (a, b, restart), (same, h0) = moving, fixed
            how: Any = {"reverse": reverse, "method": self.order, "place": place}
            return solve(ring, a if same is None else same, b, h0, restart, **how)

        moving = (a if same is None else None, b, restart)
        return over(self.mesh_axis, b[0].shape[0], run, moving, (same, h0))


def _planes(
    pair: bool, factors: Any, addends: Any, state: State, fresh: State
) -> Iterator[tuple[Planes, Planes, Planes, Planes]]:
    """Yields factors, addends, initial and fresh state of each recurrence.

    They have the dtype of the addends. A pair of leaves is one complex recurrence.
    """
    groups: list[Any]
    if pair:
        a, b = ((c.real, c.imag) for c in (factors, addends))
        groups = [(a, b, jax.tree.leaves(state), jax.tree.leaves(fresh))]
    else:
        each = map(jax.tree.leaves, (factors, addends, state, fresh))
        groups = [[(leaf,) for leaf in group] for group in zip(*each, strict=True)]
    for a, b, h0, new in groups:
        shape = (b[0].shape[0], *h0[0].shape)
        dtype = b[0].dtype
        factors = tuple(_expand(plane.astype(dtype), len(shape)) for plane in a)
        addends, begins, begun = (
            tuple(jnp.broadcast_to(plane.astype(dtype), to) for plane in planes)
            for planes, to in ((b, shape), (h0, shape[1:]), (new, shape[1:]))
        )
        yield factors, addends, begins, begun


def _expand(a: Array, rank: int) -> Array:
    """Adds leading axes to factors that are the same in every step."""
    return a.reshape((1,) * (rank - a.ndim) + a.shape)
