"""Abstract bases of cells. A concrete class overrides none of their methods."""

import abc
from typing import Any, NamedTuple, final

import jax.numpy as jnp

from jrnn import checks, initializers, options
from jrnn.cells.affine import Gates, affine, split
from jrnn.forms import Gated, Matmul
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable


class PlainCell(Cell):
    """A cell whose `prepare` returns the parameters unchanged. Inputs have any shape.

    Subclasses define everything else of `jrnn.Cell`.

    Example:
      >>> import jrnn
      >>> cell = jrnn.ConvLSTM(hidden_size=4, kernel_size=(3, 3), spatial=(8, 6))
      >>> isinstance(cell, PlainCell), cell.prepare("params"), cell.feature_axes
      (True, 'params', 3)
    """

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
    """A cell on vectors: its inputs are [..., input_size].

    Subclasses define `output_size`, `init`, `initial_state`, `project`, `form` and
    `read`.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> @jrnn.value
      ... class Average(jrnn.cells.VectorCell):  # h' = decay * h + (1 - decay) * x
      ...     size: int
      ...     output_size = property(lambda self: self.size)
      ...     def init(self, key, input_size, dtype=float):
      ...         return {"decay": jnp.full(self.size, 0.5, dtype)}
      ...     def initial_state(self, params, batch_shape=()):
      ...         return jnp.zeros((*batch_shape, self.size))
      ...     def project(self, params, x, *, key=None):
      ...         return x
      ...     @property
      ...     def form(self):
      ...         return jrnn.forms.Linear(
      ...             lambda params, u: (params["decay"], (1 - params["decay"]) * u)
      ...         )
      ...     def read(self, params, state, u):
      ...         return state
      >>> cell = Average(size=2)
      >>> params = cell.init(jax.random.key(0), input_size=2)
      >>> state, ys = jrnn.scan(cell, params, None, jnp.ones((3, 2)))
      >>> ys[:, 0].tolist()
      [0.5, 0.75, 0.875]
    """

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

    The gates are concatenated along the last axis, in the order of the cell's equation.
    """

    w_x: Array  # [F, k*H] input to gates
    w_h: Array  # [H, k*H] state to gates
    b_x: Array | None  # [k*H] bias of the gates
    b_h: Array | None = None  # [k*H] second bias, with the matmul of the state


@exportable
class HiddenState(NamedTuple):
    """State of a cell with one entry for each unit."""

    h: Array  # [..., H]


class GatedCell(HiddenCell):
    """A cell whose k gates add a matmul of the input and one of the state.

        p      = x Wx + b + h Wh              k arrays [..., H]
        state' = update(params, state, p)     elementwise; its leaf h is the output

    Subclasses have a field `hidden_size` and define `blocks` and `update`. If a
    subclass has the fields `bias`, `separate_biases`, `scheme` or `forget_bias`, they
    work as in `jrnn.LSTM`.

    Attributes:
      blocks: The number k of gates.
      kind: Which initializers of a scheme to use: "elman", "gru" or "lstm".
      remembers: For each gate 1, -1 or 0: the factor of `forget_bias` that is added to
        its bias.
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
    affine_inputs = True

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


def zeros(like: Array, *shape: int) -> Array:
    """Returns new zeros with the dtype of a parameter.

    Two leaves of a state must not share one array: it could not be donated.
    """
    return jnp.zeros(shape, like.dtype)
