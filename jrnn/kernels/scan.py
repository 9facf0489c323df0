"""The scan: the definition of what every other kernel computes."""

from typing import Any

from jrnn import numerics
from jrnn.kernels import base
from jrnn.kernels.base import Inputs, Loop, Options, Trajectory
from jrnn.masks import where
from jrnn.types import Cell, State
from jrnn.values import value


@value
class Scan:
    """Runs any cell with `jax.lax.scan`, one step after the other.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell, xs = jrnn.GRU(hidden_size=4), jnp.ones((2, 5, 3))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, xs, method=jrnn.kernels.Scan())
      >>> ys.shape
      (2, 5, 4)
    """

    def refusal(self, cell: Cell, inputs: Inputs, options: Options) -> str | None:
        """Returns None: it runs every cell."""
        del cell, inputs, options
        return None

    def run(self, cell: Cell, loop: Loop, options: Options) -> Trajectory:
        """Runs a cell along time."""
        params, state, fresh, inputs = loop
        wide, narrow = numerics.widened(params)

        def body(state: State, slices: Any) -> tuple[State, Any]:
            u, keep, restart = slices
            params = narrow(wide)
            start = base.restarted(state, fresh, restart)
            new = cell.step(params, start, u)
            y = cell.read(params, new, u) if options.outputs else None
            if keep is not None:
                new = where(keep, new, state)
            return new, (new if options.states else None, y)

        us = base.project(cell, params, inputs)
        slices = (us, inputs.keep, inputs.restart)
        final, (states, ys) = base.unroll(body, state, slices, options)
        return Trajectory(final, states, ys)
