"""Cells and layers of jrnn as Haiku modules."""

import functools
from typing import Any

import haiku as hk

from jrnn import scanning
from jrnn.interop.common import modules
from jrnn.storage import named_arrays
from jrnn.types import Array, Cell, DType, Layer, Params, Shape, State


class HaikuCell(hk.RNNCore):
    """A jrnn cell as a Haiku core, for `hk.dynamic_unroll` and `hk.DeepRNN`.

    Use it in code that has its own loop. Otherwise `HaikuLayer(jrnn.Recurrent(cell))`
    is better: it has masks and resets, and it hoists the input matmul out of the loop.
    The cell draws noise if `apply` has a key; a key of None is evaluation.

    Attributes:
      cell: The jrnn cell.
      input_size: The number of input features.
      dtype: The dtype of its parameters.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.haiku import HaikuCell
      >>> def run(xs):  # [time, batch, features]
      ...     core = HaikuCell(jrnn.LSTM(4), input_size=3)
      ...     return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
      >>> model = hk.transform(run)
      >>> params = model.init(jax.random.key(0), jnp.ones((5, 2, 3)))
      >>> ys, state = model.apply(params, None, jnp.ones((5, 2, 3)))
      >>> ys.shape, sorted(params["haiku_cell"])
      ((5, 2, 4), ['b_x', 'w_h', 'w_x'])
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        dtype: DType = float,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.cell = cell
        self.input_size = input_size
        self.dtype = dtype

    def __call__(self, inputs: Any, prev_state: State) -> tuple[Array, State]:
        """Returns the output of one step, and the state after it."""
        params = _params(self.cell, self.input_size, self.dtype)
        key = hk.maybe_next_rng_key()
        state, y = scanning.step(self.cell, params, prev_state, inputs, key=key)
        return y, state

    def initial_state(self, batch_size: int | Shape | None) -> State:
        """Returns the state before the first step; None for a single example."""
        params = _params(self.cell, self.input_size, self.dtype)
        batch = () if batch_size is None else batch_size
        return self.cell.initial_state(
            params, batch if isinstance(batch, tuple) else (batch,)
        )


class HaikuLayer(hk.Module):
    """A jrnn layer or model as a Haiku module that runs jrnn's own scan.

    Each array is one parameter, named by its path in the layer: "w_h" for one cell,
    "0.w_h" in the first layer of a `Sequential`. `named_arrays.flatten` and
    `named_arrays.unflatten` convert between the layer's tree and these names. The layer
    draws noise if `apply` has a key; a key of None is evaluation.

    Attributes:
      layer: The jrnn layer.
      dtype: The dtype of its parameters.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.haiku import HaikuLayer
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> model = hk.transform(lambda xs: HaikuLayer(layer)(xs))
      >>> params = model.init(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> model.apply(params, None, jnp.ones((2, 5, 3))).shape
      (2, 5, 8)
    """

    def __init__(self, layer: Layer, *, dtype: DType = float, name: str | None = None):
        super().__init__(name=name)
        self.layer = layer
        self.dtype = dtype

    def __call__(
        self,
        xs: Any,
        *,
        state: State | None = None,
        lengths: Array | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        return_state: bool = False,
    ) -> Any:
        """Applies the layer. The arguments are the same as for `jrnn.scan`.

        Returns:
          The outputs. With `return_state`, the state after the last step, and the
          outputs.
        """
        state, ys = self.layer.apply(
            _params(self.layer, modules.input_size(xs), self.dtype),
            state,
            xs,
            lengths=lengths,
            mask=mask,
            reset=reset,
            key=hk.maybe_next_rng_key(),
        )
        return (state, ys) if return_state else ys


def _params(maker: Cell | Layer, input_size: int, dtype: DType) -> Params:
    """Gets each leaf of the parameters of a cell or layer from Haiku.

    One call of `init` draws all leaves, because some are functions of others. It runs
    when Haiku does not have a leaf yet.
    """

    @functools.cache
    def drawn() -> dict[str, Array]:
        return named_arrays.flatten(maker.init(hk.next_rng_key(), input_size, dtype))

    def parameter(name: str, like: Any) -> Array:
        return hk.get_parameter(
            name, like.shape, like.dtype, init=lambda shape, dtype: drawn()[name]
        )

    like = modules.param_shapes(maker, input_size, dtype)
    shapes = named_arrays.flatten(like)
    return named_arrays.unflatten(
        like, {name: parameter(name, leaf) for name, leaf in shapes.items()}
    )
