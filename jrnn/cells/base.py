"""What cells share: three abstract bases, and one for cells around another cell.

A class that is not abstract overrides nothing here. `Wrapper` is the exception: it
delegates everything, and a wrapper defines what it changes.
"""

from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jrnn import initializers, options
from jrnn.forms import Form
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State


class PlainCell(Cell):
    """A cell that uses its parameters as they are."""

    def __post_init__(self) -> None:
        options.check(self)

    @final
    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Returns `params`."""
        del key, batch_shape
        return params


class VectorCell(PlainCell):
    """A cell on vectors: its inputs are [..., input_size]."""

    feature_axes = 1


class HiddenCell(VectorCell):
    """A cell on vectors whose output is the leaf `h` of its state, [..., H].

    Subclasses have a field `hidden_size` and a state with a field `h`.
    """

    hidden_size: int

    @final
    @property
    def output_size(self) -> int:
        return self.hidden_size

    @final
    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns h."""
        del params, u
        return state.h


class Wrapper(Cell):
    """A cell around the cell in its field `cell`: delegates what it does not change."""

    cell: Cell

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

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = jnp.float32) -> Params:
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


def draw(
    cell: Any, key: PRNGKey, kind: str, input_size: int, blocks: int, dtype: DType
) -> tuple[Array, Array, Array | None, Array | None]:
    """Draws w_x, w_h, b_x and b_h of a cell as its scheme, size and biases say.

    See `initializers.recurrent_weights`. Of an LSTM with four gates, the forget gate's
    bias starts at `forget_bias`.
    """
    scheme = initializers.scheme(cell.scheme, kind)
    w_x, w_h, b_x, b_h = initializers.recurrent_weights(
        key,
        scheme,
        input_size,
        cell.hidden_size,
        blocks,
        dtype,
        bias=cell.bias,
        separate_biases=getattr(cell, "separate_biases", False),
        state_size=cell.output_size,
    )
    if kind == "lstm" and blocks == 4:
        start, size = cell.forget_bias, cell.hidden_size
        b_x = initializers.forget_gate(scheme, start, b_x, size)
    return w_x, w_h, b_x, b_h


def inner_params(prepared: Any) -> Any:
    """Returns the parameters of the cell inside a wrapper."""
    return prepared.cell


def zeros(like: Array, *shape: int) -> Array:
    """Returns new zeros with the dtype of a parameter.

    Two leaves of a state must not share one array: it could not be donated.
    """
    return jnp.zeros(shape, like.dtype)


def inner_u(u: tuple[Any, ...]) -> Any:
    """Returns the projected input of the cell inside, first of a wrapper's tuple."""
    return u[0]
