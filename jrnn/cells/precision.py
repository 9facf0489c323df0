"""Mixed precision: matmuls in half precision, the state in float32."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn.cells.wrapper_base import Wrapper, passes_input
from jrnn.forms import Form, Gated, Linear, Plain
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import value


@value
class MixedPrecision(Wrapper):
    """Computes in one precision and carries the state in another.

    Parameters stay in their own precision, float32 for the optimizer. Matrices are cast
    once per scan, and so is the input. By the form of the cell:

        gated            the matmul and the pre-activations are in `compute`, the update
                         and the state in `state`
        dense            the whole step is in `compute`, the state in `state` between
                         steps
        linear, others   the step has no matmul and is in `state`

    The output is in `compute`, and gradients are in the precision of the parameters.

    Attributes:
      cell: The cell to wrap.
      compute: Precision of matmuls and outputs.
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

    affine_inputs = passes_input

    @property
    def form(self) -> Form:
        inner = self.cell.form
        if isinstance(inner, Gated):
            return self._gated(inner)
        if isinstance(inner, Linear):
            return inner._replace(coefficients=self._coefficients(inner))
        narrow = inner.structure == "dense"
        return inner._replace(step=self._step(inner, narrow))

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the cell, in the precision of the state."""
        return cast(self.cell.initial_state(params, batch_shape), self.state)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Prepares the parameters of the cell, then casts the matrices.

        Vectors, as biases and the factors of diagonal cells, take part in no matmul.
        """
        params = self.cell.prepare(params, key=key, batch_shape=batch_shape)
        return jax.tree.map(
            lambda leaf: cast(leaf, self.compute) if leaf.ndim > 1 else leaf, params
        )

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the cast input."""
        narrow = cast((params, x), self.compute)
        return cast(self.cell.project(*narrow, key=key), self.compute)

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output, in the precision of computation."""
        narrow = cast((params, state, u), self.compute)
        return cast(self.cell.read(*narrow), self.compute)

    def _gated(self, inner: Gated) -> Gated:
        def update(params: Params, state: State, p: Any) -> State:
            new = inner.update(*cast((params, state, p), self.state))
            return cast(new, self.state)

        def combine(params: Params, u: Any, v: Array) -> Any:
            return cast(
                inner.combine(*cast((params, u, v), self.compute)), self.compute
            )

        return inner._replace(
            hidden=lambda state: cast(inner.hidden(state), self.compute),
            combine=combine,
            update=update,
        )

    def _coefficients(self, inner: Linear) -> Any:
        def coefficients(params: Params, u: Any) -> tuple[Any, Any]:
            return cast(inner.coefficients(*cast((params, u), self.state)), self.state)

        return coefficients

    def _step(self, inner: Plain, narrow: bool) -> Any:
        dtype = self.compute if narrow else self.state

        def step(params: Params, state: State, u: Any) -> State:
            return cast(inner.step(*cast((params, state, u), dtype)), self.state)

        return step


def cast(tree: Any, dtype: DType) -> Any:
    """Casts the floating-point leaves of a tree; integers stay."""

    def one(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(one, tree)
