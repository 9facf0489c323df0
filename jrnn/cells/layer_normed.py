"""Layer normalisation inside of a recurrent cell."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jrnn.cells.affine import side_by_side
from jrnn.cells.forwarding import Forwarding
from jrnn.cells.lstm import LSTM
from jrnn.types import (
    Array,
    DType,
    GatedCell,
    Params,
    PRNGKey,
    Shape,
    State,
    exportable,
    value,
)


@exportable
class LayerNormedParams(NamedTuple):
    """Parameters of a gated cell and of the normalisations in it."""

    cell: Params
    scale_x: Array  # [k*H] of the input's product
    scale_h: Array  # [k*H] of the state's product
    scale_c: Array | None = None  # [H] of the memory on its way out; LSTM alone
    shift_c: Array | None = None  # [H]


@value
class LayerNormed(Forwarding):
    """Normalises both products of a gated cell, and an LSTM's memory on its way out.

        pre = LN(h Wh) * scale_h + LN(x Wx) * scale_x + b
        LSTM:  h' = o * activation(LN(c') * scale_c + shift_c)

    with LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon) over all gates together. This is
    the variant of Ba et al. [1]: the memory c' that is carried is *not* normalised,
    only what the output gate lets out is. Biases are those of the cell.

    Attributes:
      cell: A gated cell: `Elman`, `LSTM`, `GRU`.
      epsilon: Keeps the square root away from zero.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.LayerNormed(jrnn.LSTM(hidden_size=4))
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> _, ys = jrnn.scan(cell, params, None, jnp.ones((2, 5, 3)))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Ba et al., 2016, https://arxiv.org/abs/1607.06450
    """

    cell: GatedCell
    epsilon: float = 1e-5

    structure = "dense"

    def __post_init__(self) -> None:
        if not isinstance(self.cell, GatedCell):
            raise TypeError(
                f"LayerNormed normalises the two products of a `jrnn.GatedCell`, which "
                f"{self.cell} is not. Wrap an `LSTM`, a `GRU` or an `Elman` network."
            )

    def init(
        self, key: PRNGKey, input_size: int, dtype: DType = jnp.float32
    ) -> LayerNormedParams:
        """Draws the parameters of the cell; scales are one and shifts zero."""
        params = self.cell.init(key, input_size, dtype)
        ones = jnp.ones(self.cell.recurrent_kernel(params).shape[-1], dtype)
        if not isinstance(self.cell, LSTM):
            return LayerNormedParams(params, ones, ones)
        size = self.cell.hidden_size
        memory = jnp.ones(size, dtype), jnp.zeros(size, dtype)
        return LayerNormedParams(params, ones, ones, *memory)

    def within(self, params: LayerNormedParams) -> Params:
        """Returns the parameters of the cell."""
        return params.cell

    def prepare(
        self,
        params: LayerNormedParams,
        *,
        key: PRNGKey | None = None,
        batch_shape: Shape = (),
    ) -> LayerNormedParams:
        """Prepares the parameters of the cell."""
        cell = self.cell.prepare(params.cell, key=key, batch_shape=batch_shape)
        return params._replace(cell=cell)

    def project(
        self, params: LayerNormedParams, x: Array, *, key: PRNGKey | None = None
    ) -> Any:
        """Maps inputs to their normalised product, plus the biases."""
        u, part = side_by_side(self.cell.project(params.cell, x, key=key), x.ndim)
        # The projection is affine: at zero it is the biases alone.
        zero = jnp.zeros(x.shape[x.ndim - self.feature_axes :], x.dtype)
        bias, _ = side_by_side(self.cell.project(params.cell, zero), zero.ndim)
        return part(params.scale_x * self._normalise(u - bias) + bias)

    def step(self, params: LayerNormedParams, state: State, u: Any) -> State:
        """Returns the next state."""
        v = self.cell.hidden(state) @ self.cell.recurrent_kernel(params.cell)
        v = params.scale_h * self._normalise(v)
        cell = self._inside(params)
        return cell.update(params.cell, state, cell.combine(params.cell, u, v))

    def _inside(self, params: LayerNormedParams) -> Any:
        """Returns the cell; an LSTM normalises the memory before its activation."""
        cell = self.cell
        scale, shift = params.scale_c, params.shift_c
        if not isinstance(cell, LSTM) or scale is None or shift is None:
            return cell
        out = cell.output_activation or cell.activation

        def activation(c: Array) -> Array:
            return out(scale * self._normalise(c) + shift)

        return dataclasses.replace(cell, output_activation=activation)

    def _normalise(self, a: Array) -> Array:
        """Normalises the last axis, in float32 at least."""
        wide = a.astype(jnp.promote_types(a.dtype, jnp.float32))
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        return (centred * jax.lax.rsqrt(variance + self.epsilon)).astype(a.dtype)
