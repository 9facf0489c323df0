"""What cells share: four abstract bases, and one for cells around another cell.

A class that is not abstract overrides nothing here. `Wrapper` is the exception: it
delegates everything, and a wrapper defines what it changes.
"""

import abc
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells.affine import Gates, affine, split
from jrnn.forms import Form, Gated, Matmul
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable


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

    Example:
      >>> import jrnn
      >>> isinstance(jrnn.GRU(4), HiddenCell), jrnn.GRU(4).output_size
      (True, 4)
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


@exportable
class GatedParams(NamedTuple):
    """Arrays of a gated cell with F input features, H hidden units and k gates.

    The gates lie side by side along the last axis, in the order of the cell's equation.
    """

    w_x: Array  # [F, k*H] input to gates
    w_h: Array  # [H, k*H] state to gates
    b_x: Array | None  # [k*H] bias of the gates
    b_h: Array | None = None  # [k*H] second bias, with the matmul of the state


@exportable
class HiddenState(NamedTuple):
    """State of a cell with one number for each unit."""

    h: Array  # [..., H]


class GatedCell(HiddenCell):
    """A cell whose k gates add a matmul of the input and one of the state.

        p      = x Wx + b + h Wh              k arrays [..., H]
        state' = update(params, state, p)     elementwise; its leaf h is the output

    Subclasses have a field `hidden_size` and define `blocks` and `update`. Fields
    `bias`, `separate_biases`, `scheme` and `forget_bias` work as in `jrnn.LSTM` where a
    subclass has them.

    Attributes:
      blocks: The number k of gates.
      kind: Whose initializers a scheme takes: "elman", "gru" or "lstm".
      remembers: For each gate the sign, 1, -1 or 0, with which its bias takes
        `forget_bias`.
      params_type: The class of the parameters.
      state_type: The class of the state.
      gates: None, or a method (params, state, p) that returns gates by name, for
        diagnostics.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> @jrnn.value
      ... class Leaky(jrnn.cells.GatedCell):
      ...     hidden_size: int
      ...     blocks = 1
      ...     def update(self, params, state, p):
      ...         return jrnn.cells.HiddenState(0.9 * state.h + 0.1 * jnp.tanh(p[0]))
      >>> cell = Leaky(hidden_size=4)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> state, y = jrnn.step(cell, params, None, jnp.ones((2, 3)))
      >>> y.shape
      (2, 4)
    """

    blocks: int
    kind: str = "gru"
    remembers: tuple[int, ...] = ()
    params_type: type[Any] = GatedParams
    state_type: type[Any] = HiddenState
    gates: Any = None

    @abc.abstractmethod
    def update(self, params: Any, state: Any, p: Gates) -> Any:
        """Returns the next state from the state and the k pre-activations."""

    @final
    @property
    def form(self) -> Gated:
        return Gated(
            hidden=lambda state: state.h,
            recurrent=lambda params: Matmul(params.w_h),
            update=self.update,
            inputs=lambda params: params.w_x,
            gates=self.gates,
        )

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> Any:
        """Draws parameters for inputs [..., input_size]."""
        arrays = draw(
            self, key, self.kind, input_size, self.blocks, dtype, self.remembers
        )
        return self.params_type(*arrays)

    @final
    def initial_state(self, params: Params, batch_shape: Shape = ()) -> Any:
        """Returns zeros of shape [*batch_shape, H]."""
        shape = (*batch_shape, self.hidden_size)
        leaves = self.state_type._fields
        return self.state_type(*[zeros(params.w_h, *shape) for _ in leaves])

    @final
    def project(self, params: Params, x: Array, *, key: PRNGKey | None = None) -> Gates:
        """Maps inputs [..., F] to their contributions to the k gates, each [..., H]."""
        del key
        biases = (getattr(params, name, None) for name in ("b_x", "b_h"))
        return split(affine(x, params.w_x, *biases), self.blocks)


class Wrapper(Cell):
    """A cell around the cell in its field `cell`: delegates what it does not change.

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


def draw(
    cell: Any,
    key: PRNGKey,
    kind: str,
    input_size: int,
    blocks: int,
    dtype: DType,
    remembers: tuple[int, ...] = (),
) -> tuple[Array, Array, Array | None, Array | None]:
    """Draws w_x, w_h, b_x and b_h of a cell as its options say.

    Options that a cell does not have are `scheme="jrnn"`, `bias=True`,
    `separate_biases=False` and `forget_bias=None`. See `initializers.recurrent_weights`
    and `initializers.forget_gate`.
    """
    checks.init_key(key)
    scheme = initializers.scheme(getattr(cell, "scheme", "jrnn"), kind)
    w_x, w_h, b_x, b_h = initializers.recurrent_weights(
        key,
        scheme,
        input_size,
        cell.hidden_size,
        blocks,
        dtype,
        bias=getattr(cell, "bias", True),
        separate_biases=getattr(cell, "separate_biases", False),
        state_size=cell.output_size,
    )
    if any(remembers) and b_x is not None:
        start = getattr(cell, "forget_bias", None)
        if start is None:
            start = scheme.forget_bias if kind == "lstm" else 0.0
        b_x = initializers.forget_gate(key, start, b_x, remembers)
    return w_x, w_h, b_x, b_h


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


def zeros(like: Array, *shape: int) -> Array:
    """Returns new zeros with the dtype of a parameter.

    Two leaves of a state must not share one array: it could not be donated.
    """
    return jnp.zeros(shape, like.dtype)


def inner_u(u: tuple[Any, ...]) -> Any:
    """Returns the projected input of the cell inside, first of a wrapper's tuple."""
    return u[0]
