"""Clipping inside the backward pass, where a gradient explodes."""

from typing import Any

import jax
import jax.numpy as jnp

from jrnn import checks, numerics
from jrnn.cells.wrapper_base import Prepared, Wrapper, inner_params
from jrnn.forms import Advance, Gated, Plain
from jrnn.types import Array, Cell, Params, PRNGKey, Shape, State
from jrnn.values import value


@value
class ClipCotangent(Wrapper):
    """Clips the gradient of the state at every step of the backward pass [1].

        forward      s = s
        backward     ds = clip(ds)       the gradient of the state before a step

    If a gradient explodes over hundreds of steps, it is infinite before an optimizer
    can clip it, and scaling infinity down gives zero or NaN. If it is clipped at every
    step, it stays finite, and earlier steps still contribute to the gradient. The
    result is not the gradient of a loss.

    Forward-mode derivatives are not clipped. A clipped gradient is not a product of
    Jacobians, so the structure of the cell is dense.

    Attributes:
      cell: The cell to wrap; its values are unchanged.
      value: Clips each entry to [-value, value], or:
      norm: scales the gradient of each example's state, all leaves together, down to
        this norm.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.ClipCotangent(jrnn.GRU(hidden_size=4), norm=1.0)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> def loss(params):
      ...     return 1e6 * jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))[1].sum()
      >>> bool(jnp.isfinite(jax.grad(loss)(params).w_h).all())
      True

    References:
      [1] Graves, 2013, https://arxiv.org/abs/1308.0850
    """

    cell: Cell
    value: float | None = None
    norm: float | None = None

    affine_inputs = Wrapper.affine_inputs
    edits_cotangent = True  # kernels that do not run the backward pass refuse it

    def __post_init__(self) -> None:
        super().__post_init__()
        bounds = [bound for bound in (self.value, self.norm) if bound is not None]
        if len(bounds) != 1:
            raise ValueError(
                "ClipCotangent needs exactly one of `value=` and `norm=`, got "
                f"value={self.value!r}, norm={self.norm!r}. Pass one of them."
            )
        checks.positive("the bound of ClipCotangent", bounds[0])

    @property
    def form(self) -> Gated | Plain:
        form = self.cell.form
        if not isinstance(form, Gated):  # a clipped gradient has no Jacobian
            form = Plain(form.step, gates=form.gates)
        return form.focus(inner_params).wrap(self._clip)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> Prepared:
        """Prepares the parameters of the cell."""
        cell = self.cell.prepare(params, key=key, batch_shape=batch_shape)
        return Prepared(cell, self.cell.initial_state(params))

    def project(self, params: Prepared, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input with the cell."""
        return self.cell.project(params.cell, x, key=key)

    def read(self, params: Prepared, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params.cell, state, u)

    def _clip(self, params: Prepared, u: Any, state: State, advance: Advance) -> State:
        del u
        axes = params.batch_axes(state)

        def bounded(gradient: State) -> State:
            if self.norm is not None:
                return numerics.clip_norm(gradient, self.norm, axes)
            bound = self.value or 0.0
            return jax.tree.map(lambda g: jnp.clip(g, -bound, bound), gradient)

        return advance(numerics.edit_cotangent(bounded, state))
