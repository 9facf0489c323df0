"""Clipping of the state, in the forward pass."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks
from jrnn.cells.wrapper_base import Wrapper
from jrnn.forms import Form, Gated, Linear, Plain, directly, gates_of
from jrnn.types import Array, Cell, DType, Params, PRNGKey, State
from jrnn.values import value


@value
class ClipState(Wrapper):
    """Keeps the state within bounds.

        s' = min(max(cell(s), -bound), bound)

    for every entry of every leaf and every step. The gradient of a clipped entry is
    zero. The output is read from the clipped state.

    The cell clipping of [1] and TensorFlow clips the memory of an LSTM before the
    output is computed, so clip it in both places:

        out = activations.Clipped(activations.tanh, bound=3.0)
        ClipState(LSTM(4, output_activation=out), bounds=(None, 3.0))

    Attributes:
      cell: The cell to wrap.
      bounds: One number, or one for each leaf of the state, for an LSTM those of (h,
        c); None for a leaf that is not clipped.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ClipState(jrnn.GRU(hidden_size=4), bounds=0.1)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> bool(jnp.abs(ys).max() <= 0.1)
      True

    References:
      [1] Sak et al., 2014, https://arxiv.org/abs/1402.1128
    """

    cell: Cell
    bounds: float | tuple[float | None, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        bounds = self.bounds if isinstance(self.bounds, tuple) else (self.bounds,)
        for bound in bounds:
            if bound is not None:
                checks.positive("bounds", bound)

    @property
    def form(self) -> Form:
        form = self.cell.form
        if isinstance(form, Gated) and form.around is directly:
            update = form.update
            return form._replace(
                update=lambda params, state, p: self._clip(update(params, state, p))
            )
        structure = form.structure
        if isinstance(form, Linear):  # units do not mix, but a clip is not linear
            structure = ("block", 2) if form.pair else "dense"
        return Plain(
            lambda params, state, u: self._clip(form.step(params, state, u)),
            structure,
            gates=gates_of(form),
            local=form.local,
        )

    def init(self, key: PRNGKey, input_size: Any, dtype: DType = float) -> Params:
        """Draws the parameters of the cell.

        Raises:
          ValueError: if there is not one bound for each leaf of the state.
        """
        params = self.cell.init(key, input_size, dtype)
        jax.eval_shape(lambda p: self._clip(self.cell.initial_state(p)), params)
        return params

    def _clip(self, state: State) -> State:
        leaves, structure = jax.tree.flatten(state)
        bounds = self.bounds
        if not isinstance(bounds, tuple):
            bounds = (bounds,) * len(leaves)
        checks.count("bounds", bounds, len(leaves), "one per leaf of the state")

        def clip(leaf: Array, bound: float | None) -> Array:
            return leaf if bound is None else jnp.clip(leaf, -bound, bound)

        clipped = [clip(a, bound) for a, bound in zip(leaves, bounds, strict=True)]
        return jax.tree.unflatten(structure, clipped)
