"""Types of jrnn: aliases of arrays, and the interfaces of cells and layers."""

import abc
import dataclasses
from collections.abc import Callable
from inspect import getattr_static
from typing import Any, Protocol, final, runtime_checkable

import jax

from jrnn.forms import Form, Structure

Activation = Callable[[jax.Array], jax.Array]  # a module-level function
Array = jax.Array
DType = Any  # whatever `jnp.zeros(..., dtype)` accepts
GateBias = Callable[[jax.Array, int, Any], jax.Array]  # key, size, dtype -> [size]
Params = Any  # a pytree of arrays: a NamedTuple in this library
PRNGKey = jax.Array
Shape = tuple[int, ...]
State = Any  # a pytree of arrays with a structure that never changes
OVER_TIME = ("pointwise", "causal", "sequence", "reduce")  # see `Layer.over_time`
_DERIVED = {"step", "structure"}  # what `Cell` derives from `form`
_CONTRACT = _DERIVED | {"form", "prepare", "project", "read", "initial_state"}
_CONTRACT |= {"output_size", "feature_axes", "affine_inputs"}


def _depth(cls: type, name: str) -> int:
    """Returns how far up the bases of a class the one is that defines a name."""
    return next(i for i, base in enumerate(cls.__mro__) if name in vars(base))


class Cell(abc.ABC):
    """A recurrent network as pure functions of explicit arrays.

        u_t = project(x_t)         does not depend on the state: all steps at once
        h_t = step(h_t-1, u_t)     the only sequential part, derived from `form`
        y_t = read(h_t, u_t)       does not depend on earlier states: all at once

    These are the transition and the emission of a state-space model. A cell is a frozen
    dataclass of hyperparameters, never arrays: equal cells have equal hashes, so
    `jax.jit` takes a cell as a static argument without recompiling. Arrays live outside
    the cell, in `params` (learned) and `state` (carried through time).

    Every method accepts any leading batch dimensions, written `...` below, and treats
    them alike: `project(params, xs)[t] == project(params, xs[t])`.

    Bases with defaults are `jrnn.cells.VectorCell` and `jrnn.cells.HiddenCell` for
    cells on vectors, and `jrnn.cells.Wrapper` for cells around another cell.
    A cell is final, because kernels use several of its methods, which must be
    consistent. To change what a cell computes, wrap it; a subclass may only override
    `init`.

    Example:
      >>> import jrnn
      >>> isinstance(jrnn.LSTM(hidden_size=4), jrnn.Cell)
      True
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__[1:]:
            if not issubclass(base, Cell):
                continue
            finished = dataclasses.is_dataclass(base)
            names = _CONTRACT if finished else _DERIVED if base is Cell else ()
            for name in sorted(names):
                if getattr_static(cls, name) is not getattr_static(base, name):
                    raise TypeError(
                        f"{cls.__name__} overrides {name} of {base.__name__}, which "
                        "is final because kernels use it. Define `form` in a new cell, "
                        "or wrap the cell: see `jrnn.cells.HiddenCell` and "
                        "`jrnn.cells.Wrapper`."
                    )
        if _depth(cls, "project") < _depth(cls, "affine_inputs"):
            cls.affine_inputs = False  # type: ignore[assignment,method-assign]

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """Size of the last axis of the output."""

    @property
    @abc.abstractmethod
    def feature_axes(self) -> int:
        """Number of feature axes of one input: 1 for vectors, 3 for images."""

    @property
    @abc.abstractmethod
    def form(self) -> Form:
        """How the state moves in one step: a form of `jrnn.forms`."""

    @property
    def affine_inputs(self) -> bool:
        """Whether `project(params, x)` is `x @ form.inputs(params)` plus biases.

        If so, kernels may join the matmuls of input and state. It is False for a class
        that defines `project`, unless that class sets it too: a wrapper that changes
        the input keeps the form of the cell inside, but not its map of the input. A
        wrapper that passes its input on sets it to `Wrapper.affine_inputs`.
        """
        return False

    @abc.abstractmethod
    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws parameters for inputs of shape [..., input_size]."""

    @abc.abstractmethod
    def initial_state(self, params: Params, batch_shape: Shape = ()) -> State:
        """Returns the state before the first step, for a batch of this shape.

        `params` are the parameters from `init`, not those from `prepare`.
        """

    @abc.abstractmethod
    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Returns the parameters that `project`, `step` and `read` take.

        A scan calls it once, outside the loop, for reparametrizations, casts, and masks
        of a whole sequence. The structure of the result may differ from `params`.
        `key=None` means no randomness.
        """

    @abc.abstractmethod
    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Computes the part of a step that depends on the input [..., input_size] only.

        Noise that is drawn at every step is drawn here; `key=None` means no noise. An
        array that all rows share, such as a key, must be a scalar, and `read` must not
        use it.
        """

    @abc.abstractmethod
    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output [..., output_size] that goes with a new state."""

    @final
    def step(self, params: Params, state: State, u: Any) -> State:
        """Returns the next state, with the structure, shapes and dtypes of the old."""
        return self.form.step(params, state, u)

    @final
    @property
    def structure(self) -> Structure:
        """Structure of the Jacobian of one state with respect to the one before.

        "dense"; "diagonal", unit by unit; ("block", k), unit by unit with k coupled
        leaves of the state; "linear", diagonal and independent of the state.
        """
        return self.form.structure


@runtime_checkable
class Layer(Protocol):
    """A function from sequences to sequences, with parameters and a state.

    A layer is a frozen dataclass, like a cell. Sequences are [*batch, time, features].
    A model is a layer.

    Example:
      >>> import jrnn
      >>> isinstance(jrnn.Recurrent(jrnn.LSTM(hidden_size=4)), jrnn.Layer)
      True
    """

    @property
    def output_size(self) -> int | None:
        """Size of the last axis of the output; None for that of the input."""

    @property
    def over_time(self) -> str:
        """How outputs depend on time, one of `OVER_TIME`.

        "pointwise"  on the step of the output only
        "causal"     on no later step
        "sequence"   on any step
        "reduce"     on any step, with one output per sequence: the time axis is gone
        """

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> Params:
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
        and `reset` are those of `jrnn.scan`: padding does not affect the values and
        gradients of valid steps. Outputs at padded steps are unspecified; those of
        recurrent layers are zero.
        """
