"""Mixed precision: narrow products, a wide memory."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells.forwarding import Forwarding, Gated
from jrnn.types import (
    Array,
    Cell,
    DType,
    Params,
    PRNGKey,
    Shape,
    State,
    value,
)


@value
class MixedPrecision(Forwarding):
    """Computes in one precision and remembers in another.

    Parameters stay as they are, in float32 for the optimiser; matrices are cast once
    per scan, and so is the input. Products are in `compute`:

        gated cells     the product and the pre-activations are in `compute`, the
                        update and the state in `state`
        dense cells     the whole step is in `compute`, the state in `state` between
                        steps
        other cells     have no product in their step; it is in `state`

    The output is in `compute`, and gradients are in the precision of the parameters.

    Attributes:
      cell: What to compute in each step.
      compute: Precision of products and outputs.
      state: Precision of the state.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.MixedPrecision(jrnn.LSTM(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> params.w_h.dtype.name, state.c.dtype.name, ys.dtype.name
      ('float32', 'float32', 'bfloat16')
    """

    cell: Cell
    compute: DType = jnp.bfloat16
    state: DType = jnp.float32

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws the parameters of the cell, in `dtype`."""
        return self.cell.init(key, input_size, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the cell, in the precision of the state."""
        return cast(self.cell.initial_state(params, batch_shape), self.state)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Prepares the parameters of the cell, then casts the matrices.

        Vectors, as biases and the factors of diagonal cells, take part in no product.
        """
        params = self.cell.prepare(params, key=key, batch_shape=batch_shape)
        return jax.tree.map(
            lambda leaf: cast(leaf, self.compute) if leaf.ndim > 1 else leaf, params
        )

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the cast input."""
        u = self.cell.project(params, cast(x, self.compute), key=key)
        return cast(u, self.compute)

    def step(self, params: Params, state: State, u: Any) -> State:
        """Returns the next state, in the precision of the state."""
        if self.structure == "dense":
            state = cast(state, self.compute)
        return cast(self.cell.step(params, state, u), self.state)

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output, in the precision of computation."""
        y = self.cell.read(params, cast(state, self.compute), u)
        return cast(y, self.compute)


class GatedMixedPrecision(Gated, MixedPrecision, of=MixedPrecision):
    """A `MixedPrecision` around a gated cell, which is gated too."""

    def step(self, params: Params, state: State, u: Any) -> State:
        """Returns the next state: a narrow product, a wide update."""
        v = self.hidden(state) @ self.recurrent_kernel(params)
        return self.update(params, state, self.combine(params, u, v))

    def hidden(self, state: State) -> Array:
        """Returns what is multiplied, cast for the product."""
        return cast(self.cell.hidden(state), self.compute)

    def combine(self, params: Params, u: Any, v: Array) -> Any:
        """Returns the pre-activations, in the precision of the product."""
        return cast(self.cell.combine(params, u, v), self.compute)

    def update(self, params: Params, state: State, p: Any) -> State:
        """Returns the next state, in the precision of the state."""
        return cast(self.cell.update(params, state, cast(p, self.state)), self.state)


def cast(tree: Any, dtype: DType) -> Any:
    """Casts the floating-point leaves of a tree; integers stay."""

    def one(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(one, tree)
