"""The vocabulary of jrnn: array aliases, and what it takes to be a cell or a layer."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, dataclass_transform, runtime_checkable

import jax
import jax.export
import jax.numpy as jnp

Activation = Callable[[jax.Array], jax.Array]  # a module-level function
Array = jax.Array
DType = Any  # whatever `jnp.zeros(..., dtype)` accepts
Params = Any  # a pytree of arrays: a NamedTuple in this library
PRNGKey = jax.Array
Shape = tuple[int, ...]
State = Any  # a pytree of arrays with a structure that never changes
Structure = str | tuple[str, int]  # "dense", "diagonal", ("block", k) or "linear"
_T = TypeVar("_T")


class Cell(Protocol):
    """A recurrent network as pure functions of explicit arrays.

        u_t = project(x_t)         free of the state: any number of steps at once
        h_t = step(h_t-1, u_t)     the only sequential part
        y_t = read(h_t, u_t)       free of earlier states: any number at once

    They are the transition and the emission of a state-space model. A cell is a frozen
    dataclass whose fields are hyper-parameters, never arrays: equal cells hash alike,
    so `jax.jit` takes one as a static argument without recompiling. Arrays live outside
    of it, in `params` (learned) and `state` (carried along time).

    Every method accepts any leading batch axes, written `...` below, and treats them
    alike: `project(params, xs)[t] == project(params, xs[t])`.
    """

    @property
    def output_size(self) -> int:
        """Size of the last axis of the output."""

    @property
    def feature_axes(self) -> int:
        """Number of feature axes of one input: 1 for vectors, 3 for images."""

    @property
    def structure(self) -> Structure:
        """Structure of the Jacobian of one state with respect to the one before.

        "dense"; "diagonal", unit by unit; ("block", k), unit by unit with k coupled
        leaves of the state; "linear", diagonal and free of the state.
        """

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws fresh parameters for inputs of shape [..., input_size]."""

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the state before the first step, for a batch of this shape."""

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Returns the parameters as one scan uses them: made once, outside its loop.

        Reparametrisations, casts and masks that hold for a whole sequence go here. For
        most cells the result is `params` itself. `key=None` asks for no randomness.
        """

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Does the work on an input [..., input_size] that needs no state.

        Noise that is fresh at every step is drawn here; `key=None` asks for none.
        """

    def step(self, params: Params, state: State, u: Any) -> State:
        """Returns the next state, with the structure, shapes and dtypes of the old."""

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output [..., output_size] that goes with a new state."""


@runtime_checkable
class GatedCell(Cell, Protocol):
    """A cell that is one product with the recurrent kernel and a pointwise update.

        step(params, state, u) = update(params, state, combine(params, u, v))
        v = hidden(state) @ recurrent_kernel(params)

    Kernels use the parts: the product once per step, and its gradient as one product
    for many steps. States and pre-activations are floating-point.
    """

    def hidden(self, state: State) -> Array:
        """Returns the part of the state that is multiplied, [..., H]."""

    def recurrent_kernel(self, params: Params) -> Array:
        """Returns the matrix [H, k*H] that multiplies it."""

    def combine(self, params: Params, u: Any, v: Array) -> Any:
        """Returns the pre-activations: linear in `u`, in `v` and in the parameters."""

    def update(self, params: Params, state: State, p: Any) -> State:
        """Returns the next state; pointwise in the units."""


@runtime_checkable
class AdditiveCell(GatedCell, Protocol):
    """A gated cell whose input's product and state's product add up.

        combine(params, project(params, x), v)
            = combine(params, project(params, 0), x @ input_kernel(params) + v)

    Kernels may then compute both as one product. They do where one class defines
    `input_kernel`, `project` and `combine`: a subclass with a `project` of its own is
    safe.
    """

    def input_kernel(self, params: Params) -> Array:
        """Returns the matrix [F, k*H] that multiplies the input."""


@runtime_checkable
class LinearCell(Cell, Protocol):
    """A cell with `h' = a * h + b`, a and b free of h.

    Where the state is a pair of leaves, the real and the imaginary part of h, a and b
    are complex arrays: `h = jax.lax.complex(*state)`.
    """

    def coefficients(self, params: Params, u: Any) -> tuple[Any, Any]:
        """Returns a and b: trees like the state, or one complex array for a pair."""


@runtime_checkable
class Gating(Cell, Protocol):
    """A cell that shows its gates, for `jrnn.diagnostics`."""

    def gates(self, params: Params, state: State, u: Any) -> dict[str, Array]:
        """Returns the gates of one step by name, each [..., H] and within [0, 1]."""


@runtime_checkable
class Layer(Protocol):
    """A function from sequences to sequences, with parameters and a state.

    A layer is a frozen dataclass, like a cell. Sequences are [*batch, time, features].
    A model is a layer.
    """

    @property
    def output_size(self) -> int | None:
        """Size of the last axis of the output; None for that of the input."""

    def init(self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32) -> Params:
        """Draws fresh parameters for inputs [*batch, time, input_size]."""

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the state before the first step; `()` for a layer that has none."""

    def apply(
        self,
        params: Params,
        state: State,
        xs: Any,
        *,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        key: PRNGKey | None = None,
    ) -> tuple[State, Any]:
        """Returns the state after the sequence, and the outputs.

        `state=None` is the initial state, `key=None` is evaluation. `lengths`, `mask`
        and `reset` are those of `jrnn.scan`: padding is inert for values and gradients
        of valid steps. What a layer puts out at padding is of no account; recurrent
        layers put out zero.
        """


@dataclass_transform(frozen_default=True)
def value(cls: type[_T]) -> type[_T]:
    """Makes a class a frozen dataclass that prints as the call that would build it.

    Fields at their default are left out, and functions print by name: `GRU(4)` is
    `GRU(hidden_size=4)`, with no addresses that change from run to run.
    """
    made = dataclasses.dataclass(frozen=True, repr=False)(cls)
    if "__repr__" not in vars(cls):
        setattr(made, "__repr__", _print_value)  # noqa: B010  mypy's view of methods
    return made


def exportable(node: type[_T]) -> type[_T]:
    """Registers a NamedTuple of arrays with `jax.export`; decorates its class."""
    jax.export.register_namedtuple_serialization(
        node, serialized_name=f"jrnn.{node.__name__}"
    )
    return node


def _print_value(self: Any) -> str:
    shown = [
        f"{field.name}={getattr(value, '__name__', None) or repr(value)}"
        for field in dataclasses.fields(self)
        if (value := getattr(self, field.name)) != field.default
    ]
    return f"{type(self).__name__}({', '.join(shown)})"


def foremost(cell: Cell, *names: str) -> set[str]:
    """Returns which of these methods the first class has that has any of them.

    Classes are looked through in the order in which Python does, so a class that
    replaces some methods of its base comes first.
    """
    own = [{*names} & vars(kind).keys() for kind in type(cell).__mro__]
    return next(filter(None, own), set())
