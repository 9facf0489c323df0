"""Dropout of what a cell reads: its input, or its own state."""

from typing import Any, NamedTuple

import jax

from jrnn import checks, numerics
from jrnn.cells.wrapper_base import Wrapper, inner_params, require_gated
from jrnn.forms import Form, Gated
from jrnn.types import Array, Cell, Params, PRNGKey, Shape, State
from jrnn.values import value


class _Keyed(NamedTuple):
    """Prepared parameters of a cell, and a key for each row of the batch, or None."""

    cell: Params
    keys: Array | None  # [*batch] random keys


@value
class InputDropout(Wrapper):
    """Sets random features of the input of a cell to zero and scales up the others.

        u = project(x * m / (1 - rate)),    each entry of m is 0 with probability `rate`

    By default each step has its own mask. With `locked` (variational dropout [1]), all
    steps of a sequence share one mask, and each row of a batch has its own. Without a
    key, in evaluation, the input is unchanged.

    `jrnn.Dropout` before a `jrnn.Recurrent` computes the same for a whole sequence. Use
    this wrapper where a cell is needed. Each call of `jrnn.step` with a key draws a new
    mask.

    Attributes:
      cell: The cell to wrap.
      rate: The probability of dropping a feature, in [0, 1).
      locked: Whether all time steps of a sequence use the same mask.

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.InputDropout(jrnn.GRU(hidden_size=4), rate=0.5, locked=True)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> xs = jnp.ones((2, 5, 3))
      >>> _, ys = jrnn.scan(cell, params, None, xs, key=jax.random.key(1))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Gal and Ghahramani, 2016, https://arxiv.org/abs/1512.05287
    """

    cell: Cell
    rate: float
    locked: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.probability("rate", self.rate)

    @property
    def form(self) -> Form:
        return self.cell.form.focus(inner_params)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> _Keyed:
        """Prepares the parameters of the cell, and draws a key for each row."""
        if key is None:
            return _Keyed(self.cell.prepare(params, batch_shape=batch_shape), None)
        key, key_mask = jax.random.split(key)
        cell = self.cell.prepare(params, key=key, batch_shape=batch_shape)
        if not self.locked:
            return _Keyed(cell, None)
        key_mask = numerics.typed_key(key_mask)
        return _Keyed(cell, jax.random.split(key_mask, batch_shape))

    def project(self, params: _Keyed, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Drops features, and projects the rest."""
        leaves, structure = jax.tree.flatten(x)
        if self.locked and params.keys is not None:
            leaves = [self._lock(params.keys, a, i) for i, a in enumerate(leaves)]
        elif not self.locked and key is not None:
            key, *keys = jax.random.split(key, 1 + len(leaves))
            leaves = [self._drop(k, a) for k, a in zip(keys, leaves, strict=True)]
        x = jax.tree.unflatten(structure, leaves)
        return self.cell.project(params.cell, x, key=key)

    def read(self, params: _Keyed, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params.cell, state, u)

    def _drop(self, key: PRNGKey, x: Array) -> Array:
        return x * _mask(key, self.rate, x.shape, x.dtype)

    def _lock(self, keys: Array, x: Array, number: int) -> Array:
        """Masks a leaf [..., *batch, *features] with one mask for each row."""
        features = x.shape[x.ndim - self.feature_axes :]

        def one(key: PRNGKey) -> Array:
            key = jax.random.fold_in(key, number)
            return _mask(key, self.rate, features, x.dtype)

        masks: Any = one
        for _ in range(keys.ndim):
            masks = jax.vmap(masks)
        mask = masks(keys)
        return numerics.along(x, mask) * numerics.along(mask, x)


class _Masked(NamedTuple):
    """Prepared parameters of a cell, and the mask of its state, or None."""

    cell: Params
    mask: Array | None  # [*batch, H], 0 or 1 / (1 - rate)


@value
class RecurrentDropout(Wrapper):
    """Drops the same random units of the state in every recurrent matmul [1].

        v = (h * m / (1 - rate)) Wh,    each entry of m is 0 with probability `rate`

    instead of v = h Wh. Each row of a batch has one mask for the whole sequence and for
    all gates. Only the input of the matmul is masked: the path h' = z h + ... of a GRU,
    the memory of an LSTM and the output are not dropped. This is the recurrent part of
    variational dropout. Keras's `recurrent_dropout` draws one mask for each gate
    instead. Without a key, in evaluation, nothing is dropped.

    Each call of `jrnn.step` with a key draws a new mask. `Zoneout` keeps the values of
    random units instead, and `WeightDrop` drops weights.

    Attributes:
      cell: A cell whose form is gated: `Elman`, `LSTM`, `GRU`, `ConvLSTM`, ...
      rate: The probability of dropping a unit, in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp, jrnn
      >>> cell = jrnn.RecurrentDropout(jrnn.LSTM(hidden_size=4), rate=0.25)
      >>> params = cell.init(jax.random.key(0), input_size=3)
      >>> xs = jnp.ones((2, 5, 3))
      >>> _, ys = jrnn.scan(cell, params, None, xs, key=jax.random.key(1))
      >>> ys.shape
      (2, 5, 4)

    References:
      [1] Gal and Ghahramani, 2016, https://arxiv.org/abs/1512.05287
    """

    cell: Cell
    rate: float

    affine_inputs = Wrapper.affine_inputs

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.probability("rate", self.rate)
        require_gated(self, "drops units in the recurrent matmul")

    @property
    def form(self) -> Gated:
        inner: Any = self.cell.form.focus(inner_params)

        def mask(params: _Masked) -> Array | None:
            within = None if inner.mask is None else inner.mask(params)
            if within is None or params.mask is None:
                return params.mask if within is None else within
            return within * params.mask

        return inner._replace(mask=mask)

    def prepare(
        self, params: Params, *, key: PRNGKey | None = None, batch_shape: Shape = ()
    ) -> _Masked:
        """Prepares the parameters of the cell, and draws the mask of its state."""
        if key is None:
            return _Masked(self.cell.prepare(params, batch_shape=batch_shape), None)
        key, key_mask = jax.random.split(key)
        form: Any = self.cell.form
        like = form.hidden(self.cell.initial_state(params))
        mask = _mask(key_mask, self.rate, (*batch_shape, *like.shape), like.dtype)
        cell = self.cell.prepare(params, key=key, batch_shape=batch_shape)
        return _Masked(cell, mask)

    def project(self, params: _Masked, x: Any, *, key: PRNGKey | None = None) -> Any:
        """Projects the input with the cell."""
        return self.cell.project(params.cell, x, key=key)

    def read(self, params: _Masked, state: State, u: Any) -> Array:
        """Returns the output of the cell."""
        return self.cell.read(params.cell, state, u)


def _mask(key: PRNGKey, rate: float, shape: Shape, dtype: Any) -> Array:
    """Draws entries that are 0 with probability `rate` and 1 / (1 - rate) otherwise."""
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return kept.astype(dtype) / (1 - rate)
