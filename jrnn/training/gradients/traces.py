"""A cell that carries the derivative of its state with respect to its parameters.

If a parameter affects only one unit, the derivative of the state of that unit with
respect to it is one number. So the traces have the shapes of the parameters.

    S' = J * S + I      J: the unit's state before to after;  I: parameter to state now

Such a cell needs no gradient through time. The gradient of its state is stopped, and
the traces contain the contributions of earlier steps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.diagnostics.structure import leaves_of_ones, reach, sums_by_unit
from jrnn.forms import Gated, Plain
from jrnn.numerics import along
from jrnn.types import Array, Cell, Params, PRNGKey, Shape, State
from jrnn.values import value


class TracedState(NamedTuple):
    """A state, and for each of its leaves the traces of the parameters."""

    state: State  # that of the cell, [*batch, H] each leaf
    traces: tuple[Params, ...]  # one tree per leaf, [*batch, *shape of the parameter]


@value
class Traced(Cell):
    """A cell whose gradient is carried forward in time, by traces.

    Attributes:
      cell: A cell each of whose parameters reaches one unit within a step: its last
        axis runs over the units, gates side by side.
      recurrence: Which recurrent weights count in J: "all" (the cell has no matmul in
        its step), "self", the weight of each unit on itself, or "none".
    """

    cell: Cell
    recurrence: str

    @property
    def output_size(self) -> int:
        return self.cell.output_size

    @property
    def feature_axes(self) -> int:
        return self.cell.feature_axes

    @property
    def form(self) -> Plain:
        return Plain(self._step)  # dense: the traces are part of the state

    def init(self, key: PRNGKey, input_size: Any, dtype: Any = float) -> Params:
        """Draws the parameters of the cell."""
        return self.cell.init(key, input_size, dtype)

    def initial_state(self, params: Params, batch_shape: Shape = ()) -> TracedState:
        """Returns the initial state. It is traced too, as it may be learned."""
        state = self.cell.initial_state(params, batch_shape)
        traces = sums_by_unit(lambda p: self.cell.initial_state(p), params)
        traces = jax.tree.map(
            lambda a: jnp.broadcast_to(a, (*batch_shape, *a.shape)), traces
        )
        return jax.lax.stop_gradient(TracedState(state, traces))

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Params:
        """Returns `params`: traces are those of the parameters before `prepare`."""
        del key, batch_shape  # a key is refused at the border
        return params

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Returns the input itself: traces need its derivative."""
        del params, key
        return x

    def read(self, params: Params, state: TracedState, x: Any) -> Array:
        """Returns the output of the cell."""
        params = self.cell.prepare(params)
        return self.cell.read(params, state.state, self.cell.project(params, x))

    def _step(self, params: Params, state: TracedState, x: Any) -> TracedState:
        """Returns the next state, whose gradient in `params` is in the traces."""
        fixed, old = jax.lax.stop_gradient((params, state.state))
        new = self._inner_step(fixed, old, x)  # has a gradient in x
        now = self._immediate(fixed, old, jax.lax.stop_gradient(x))
        jacobian = self._jacobian(fixed, old, jax.lax.stop_gradient(x))
        traces = jax.lax.stop_gradient(
            tuple(
                jax.tree.map(lambda i, *s, row=row: _propagate(i, s, row), i, *state[1])
                for i, row in zip(now, jacobian, strict=True)
            )
        )
        change = jax.tree.map(jnp.subtract, params, fixed)  # zero, with a gradient
        leaves, structure = jax.tree.flatten(new)
        reached = [
            leaf + reach(trace, change, leaf)
            for leaf, trace in zip(leaves, traces, strict=True)
        ]
        return TracedState(jax.tree.unflatten(structure, reached), traces)

    def _inner_step(self, params: Params, state: State, x: Any) -> State:
        params = self.cell.prepare(params)
        return self.cell.step(params, state, self.cell.project(params, x))

    def _immediate(self, params: Params, state: State, x: Any) -> tuple[Params, ...]:
        """Returns dstate'/dparams within this step: one tree for each leaf."""

        def one(state: State, x: Any) -> tuple[Params, ...]:
            return sums_by_unit(lambda p: self._inner_step(p, state, x), params)

        for _ in range(jax.tree.leaves(state)[0].ndim - 1):
            one = jax.vmap(one)
        return one(state, x)

    def _jacobian(self, params: Params, state: State, x: Any) -> list[list[Array]]:
        """Returns J by unit: [leaf after][leaf before], each [*batch, H].

        Units do not mix, so one tangent of ones gives the derivative of every unit.
        """
        params = self.cell.prepare(params)
        u = self.cell.project(params, x)
        columns = [
            jax.jvp(lambda s: self._own_step(params, state, s, u), (state,), (ones,))[1]
            for ones in leaves_of_ones(state)
        ]
        rows = zip(*map(jax.tree.leaves, columns), strict=True)
        return [list(row) for row in rows]

    def _own_step(self, params: Params, state: State, moved: State, u: Any) -> State:
        """Steps from `moved`, a change that each unit sees only of itself."""
        form = self.cell.form
        if self.recurrence == "all" or not isinstance(form, Gated):
            return form.step(params, moved, u)
        h, recurrent = form.seen(params, state), form.recurrent(params)
        v = recurrent(h)

        def advance(moved: State) -> State:
            seen = v
            if self.recurrence == "self":
                own, by = recurrent.diagonal(), form.seen(params, moved) - h
                by = jnp.tile(by, own.size // h.shape[-1])
                seen = v + along(own, by) * by
            return form.update(params, moved, form.combine(params, u, seen))

        return form.around(params, u, moved, advance)


def _propagate(now: Array, before: tuple[Array, ...], row: list[Array]) -> Array:
    """Returns one parameter's trace after the step: sum over leaves of J S, plus I."""
    size, batch = row[0].shape[-1], row[0].ndim - 1
    if now.ndim == batch or now.shape[-1] % size:
        return now  # reaches no unit: it is not of the recurrence
    for factor, trace in zip(row, before, strict=True):
        axes = (*factor.shape[:-1], *(1,) * (now.ndim - batch - 1), now.shape[-1])
        now = now + jnp.tile(factor, now.shape[-1] // size).reshape(axes) * trace
    return now
