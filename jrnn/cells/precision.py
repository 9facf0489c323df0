"""Mixed precision: matmuls in half precision, the state in float32."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells.wrapper_base import Wrapper
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

    affine_inputs = Wrapper.affine_inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("compute", "state"):
            value = getattr(self, name)
            checks.dtype(f"MixedPrecision.{name}", value, jnp.floating)

    @property
    def form(self) -> Form:
        inner = self.cell.form
        narrow = isinstance(inner, Plain) and inner.structure == "dense"
        dtype = self.compute if narrow else self.state  # of the step
        gates = inner.gates and _in(dtype, inner.gates)
        if isinstance(inner, Gated):
            return inner._replace(
                hidden=lambda state: cast(inner.hidden(state), self.compute),
                combine=_in(self.compute, inner.combine),
                update=_in(self.state, inner.update),
                gates=gates,
            )
        if isinstance(inner, Linear):
            coefficients = _in(self.state, inner.coefficients)
            return inner._replace(coefficients=coefficients, gates=gates)
        step = _in(dtype, inner.step)
        return inner._replace(
            step=lambda *args: cast(step(*args), self.state), gates=gates
        )

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


def _in(dtype: DType, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that takes, computes and returns numbers of one precision."""
    return lambda *args: cast(function(*cast(args, dtype)), dtype)


def cast(tree: Any, dtype: DType) -> Any:
    """Casts the floating-point leaves of a tree; integers stay."""

    def one(leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(one, tree)
