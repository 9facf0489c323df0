"""A cell whose gradient is cut at random in the backward pass through time."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import numerics
from jrnn.cells.wrapper_base import Wrapper, inner_u
from jrnn.forms import Advance, Form, Gated, Plain
from jrnn.types import Array, Cell, Params, PRNGKey, State
from jrnn.values import value


@value
class RandomCut(Wrapper):
    """A cell that scales the gradient of the state before a step by 0 or 1 / (1 - p).

    Attributes:
      cell: The cell to wrap; its values are unchanged.
      probability: p, the probability of 0.
    """

    cell: Cell
    probability: float

    affine_inputs = Wrapper.affine_inputs
    edits_cotangent = True

    @property
    def form(self) -> Form:
        form = self.cell.form
        if not isinstance(form, Gated):  # a cut gradient has no Jacobian
            form = Plain(form.step, gates=form.gates)
        return form.focus(u=inner_u).wrap(_cut)

    def project(self, params: Params, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input, and draws the factor of each example [...]."""
        if key is None:
            return self.cell.project(params, x), None
        key_cut, key = jax.random.split(key)
        leaf = jax.tree.leaves(x)[0]
        batch = leaf.shape[: leaf.ndim - self.feature_axes]
        kept = jax.random.bernoulli(key_cut, 1 - self.probability, batch)
        factor = jnp.where(kept, 1 / (1 - self.probability), 0.0)
        return self.cell.project(params, x, key=key), factor

    def read(self, params: Params, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params, state, u[0])


def _cut(params: Params, u: Any, state: State, advance: Advance) -> State:
    del params
    factor = u[1]
    if factor is None:
        return advance(state)

    def scale(gradient: State) -> State:
        def one(g: Array) -> Array:
            axes = factor.shape + (1,) * (g.ndim - factor.ndim)
            return factor.reshape(axes).astype(g.dtype) * g

        return jax.tree.map(one, gradient)

    return advance(numerics.edit_cotangent(scale, state))
