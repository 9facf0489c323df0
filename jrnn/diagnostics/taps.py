"""A tap on the backward pass: the size of the gradient at every time step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells.wrapper_base import Wrapper
from jrnn.diagnostics.gates import show_gates
from jrnn.forms import Plain
from jrnn.types import Array, Cell, DType, Params, PRNGKey, Shape, State
from jrnn.values import exportable, value


@exportable
class TappedParams(NamedTuple):
    """Parameters of a cell with a tap on its state."""

    cell: Params
    tap: Array  # [steps] zeros; its gradient holds squared norms


@exportable
class TappedState(NamedTuple):
    """State of a cell with a tap on its state."""

    cell: State
    t: Array  # [...] int32, steps since the state began


@value
class Tapped(Wrapper):
    """A wrapper that records the norm of the gradient at each step.

    The values are those of the cell. In the backward pass, the gradient of a loss with
    respect to the state h_t passes through the tap unchanged and leaves its squared
    norm, summed over the batch, at entry t - 1 of the gradient of `tap`. One backward
    pass of any loss of any model then shows through which steps gradient flows;
    `tapped_norms` reads it.

    Steps are counted from the initial state: in the order of the run, without padding,
    and from zero after a reset. The gradient of `tap` is a record, not a derivative: do
    not train with it. In float32, norms below 1e-19 read as zero and norms above 1e19
    as infinite, because their squares are.

    Attributes:
      cell: The cell to watch.
      steps: The number of steps that are recorded.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = Tapped(jrnn.Elman(1, bias=False), steps=3)
      >>> inner = jrnn.cells.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5), None)
      >>> params = TappedParams(inner, tap=jnp.zeros(3))
      >>> xs = jnp.array([[1.0], [0.0], [0.0]])
      >>> loss = lambda p: jrnn.scan(cell, p, None, xs)[1][-1, 0]
      >>> norms = tapped_norms(jax.grad(loss)(params).tap)
      >>> [round(float(norm), 4) for norm in norms]
      [0.21, 0.4838, 1.0]
    """

    cell: Cell
    steps: int

    @property
    def form(self) -> Plain:
        return Plain(self._step, gates=self._gates)  # dense: it has a counter

    def init(self, key: PRNGKey, input_size: int, dtype: DType = float) -> TappedParams:
        """Draws the parameters of the cell, and zeros for the tap."""
        return TappedParams(
            self.cell.init(key, input_size, dtype), jnp.zeros(self.steps)
        )

    def initial_state(
        self, params: TappedParams, batch_shape: Shape = ()
    ) -> TappedState:
        """Returns the initial state of the cell, at step 0."""
        inner = self.cell.initial_state(params.cell, batch_shape)
        return TappedState(inner, jnp.zeros(batch_shape, jnp.int32))

    def prepare(
        self,
        params: TappedParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> TappedParams:
        """Prepares the parameters of the cell."""
        inner = self.cell.prepare(params.cell, key=key, batch_shape=batch_shape)
        return TappedParams(inner, params.tap)

    def project(
        self, params: TappedParams, x: Any, *, key: PRNGKey | None = None
    ) -> Any:
        """Does what the cell does."""
        return self.cell.project(params.cell, x, key=key)

    def read(self, params: TappedParams, state: TappedState, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params.cell, state.cell, u)

    def _step(self, params: TappedParams, state: TappedState, u: Any) -> TappedState:
        """Returns the next state, whose gradient passes through the tap."""
        inner = self.cell.step(params.cell, state.cell, u)
        # An entry out of range is read as zero, and its gradient is dropped.
        entry = params.tap.at[state.t].get(mode="fill", fill_value=0)
        return TappedState(_tap(inner, entry), state.t + 1)

    def _gates(
        self, params: TappedParams, state: TappedState, u: Any
    ) -> dict[str, Array]:
        return show_gates(self.cell.form, params.cell, state.cell, u)


def tapped_norms(tap: Array) -> Array:
    """Returns the norm of the gradient at every step, from the gradient of a tap.

    Args:
      tap: The leaf `tap` of a gradient, [steps].

    Returns:
      Norms over the batch and the whole state, [steps].

    Example:
      >>> tapped_norms(jnp.array([4.0, 9.0])).tolist()  # see `Tapped`
      [2.0, 3.0]
    """
    return jnp.sqrt(tap)


@jax.custom_vjp
def _tap(state: State, entry: Array) -> State:
    """Returns the state; the gradient of `entry` [...] is the squared norm."""
    del entry
    return state


def _tap_forward(state: State, entry: Array) -> tuple[State, Array]:
    return state, entry


def _tap_backward(entry: Array, gradient: State) -> tuple[State, Array]:
    axes = entry.ndim
    squares = [
        jnp.sum(jnp.square(g.astype(entry.dtype)), axis=tuple(range(axes, g.ndim)))
        for g in jax.tree.leaves(gradient)
        if g.dtype != jax.dtypes.float0  # that of integers, such as a counter
    ]
    return gradient, jnp.stack(squares).sum(axis=0)


_tap.defvjp(_tap_forward, _tap_backward)
