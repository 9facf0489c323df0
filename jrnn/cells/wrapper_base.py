"""A base for cells around another cell, and what such cells share."""

from typing import Any, NamedTuple, final

import jax

from jrnn import options
from jrnn.forms import Form, Gated
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State


class Wrapper(Cell):
    """A cell around the cell in its field `cell`, which it delegates to by default.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> @jrnn.value
      ... class Doubled(jrnn.cells.Wrapper):
      ...     cell: jrnn.Cell
      ...     def read(self, params, state, u):
      ...         return 2 * self.cell.read(params, state, u)
      >>> cell = Doubled(jrnn.GRU(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, y = jrnn.step(cell, params, None, jnp.ones((2, 3)))
      >>> bool((y == 2 * state.h).all())
      True
    """

    cell: Cell

    affine_inputs: Any = property(lambda wrapper: wrapper.cell.affine_inputs)

    def __post_init__(self) -> None:
        options.check(self)

    @final
    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @final
    @property
    def feature_axes(self) -> int:
        return self.cell.feature_axes

    @property
    def form(self) -> Form:
        return self.cell.form

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the initial state of the cell."""
        return self.cell.initial_state(params, batch_shape)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Prepares the parameters of the cell."""
        return self.cell.prepare(params, key=key, batch_shape=batch_shape)

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input with the cell."""
        return self.cell.project(params, x, key=key)

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params, state, u)


class Prepared(NamedTuple):
    """Prepared parameters of a wrapper that has to know the shape of a state."""

    cell: Params  # prepared by the cell inside
    like: State  # one example's initial state

    def batch_axes(self, state: State) -> int:
        """Returns the number of batch dimensions of a state."""
        ranks = (leaf.ndim for leaf in jax.tree.leaves(self.like))
        return jax.tree.leaves(state)[0].ndim - next(ranks)


def require_gated(wrapper: Any, does: str) -> None:
    """Raises unless the cell inside a wrapper has a gated form."""
    if not isinstance(wrapper.cell.form, Gated):
        raise TypeError(
            f"{type(wrapper).__name__} {does} of a cell whose form is "
            f"`jrnn.forms.Gated`, but {wrapper.cell} has another form. Wrap an `LSTM`, "
            "a `GRU` or an `Elman` network."
        )


def inner_params(prepared: Any) -> Any:
    """Returns the parameters of the cell inside a wrapper."""
    return prepared.cell


def inner_u(u: tuple[Any, ...]) -> Any:
    """Returns the projected input of the cell inside, first of a wrapper's tuple."""
    return u[0]
