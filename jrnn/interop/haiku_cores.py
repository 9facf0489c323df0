"""Haiku: jrnn cells and layers as Haiku modules."""

import functools
from typing import Any

import haiku as hk
import jax.numpy as jnp

from jrnn import scanning
from jrnn.interop import leaves
from jrnn.types import Array, Cell, DType, Layer, Params, Shape, State


class HaikuCore(hk.RNNCore):
    """A jrnn cell as a Haiku core, for `hk.dynamic_unroll` and `hk.DeepRNN`.

    `HaikuLayer(jrnn.Recurrent(cell))` does more: masks, resets, inputs projected before
    the loop. A core is for code that has a loop of its own. It draws noise where
    `apply` is given a key; None is evaluation.

    Attributes:
      cell: The jrnn cell.
      input_size: The number of input features.
      dtype: The dtype of its parameters.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.haiku_cores import HaikuCore
      >>> def run(xs):  # [time, batch, features]
      ...     core = HaikuCore(jrnn.LSTM(4), input_size=3)
      ...     return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))
      >>> model = hk.transform(run)
      >>> params = model.init(jax.random.key(0), jnp.ones((5, 2, 3)))
      >>> ys, state = model.apply(params, None, jnp.ones((5, 2, 3)))
      >>> ys.shape, sorted(params["haiku_core"])
      ((5, 2, 4), ['b_x', 'w_h', 'w_x'])
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        *,
        dtype: DType = jnp.float32,
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
    """A jrnn layer, a whole model even, as a Haiku module that keeps jrnn's own scan.

    Each array is a parameter of its own, named by its path in the layer: "w_h" for one
    cell, "0.w_h" in the first layer of a `Sequential`. `leaves.pack` and
    `leaves.unpack` go between these names and the layer's own tree. It draws noise
    where `apply` is given a key; None is evaluation.

    Attributes:
      layer: The jrnn layer.
      dtype: The dtype of its parameters.

    Example:
      >>> import haiku as hk, jax, jax.numpy as jnp, jrnn
      >>> from jrnn.interop.haiku_cores import HaikuLayer
      >>> layer = jrnn.Bidirectional(jrnn.GRU(4))
      >>> model = hk.transform(lambda xs: HaikuLayer(layer)(xs))
      >>> params = model.init(jax.random.key(0), jnp.ones((2, 5, 3)))
      >>> model.apply(params, None, jnp.ones((2, 5, 3))).shape
      (2, 5, 8)
    """

    def __init__(
        self, layer: Layer, *, dtype: DType = jnp.float32, name: str | None = None
    ):
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
        """Applies the layer; the arguments are those of `jrnn.scan`.

        Returns:
          The outputs; with `return_state`, the state after the sequence and the
          outputs.
        """
        state, ys = self.layer.apply(
            _params(self.layer, leaves.input_size(xs), self.dtype),
            state,
            xs,
            lengths=lengths,
            mask=mask,
            reset=reset,
            key=hk.maybe_next_rng_key(),
        )
        return (state, ys) if return_state else ys


def _params(maker: Cell | Layer, input_size: int, dtype: DType) -> Params:
    """Takes the parameters of a cell or layer from Haiku, leaf by leaf.

    All leaves come from one draw, for some are functions of others; it is made when
    Haiku asks for the first leaf that it does not have.
    """

    @functools.cache
    def drawn() -> dict[str, Array]:
        return leaves.pack(maker.init(hk.next_rng_key(), input_size, dtype))

    def parameter(name: str, like: Any) -> Array:
        return hk.get_parameter(
            name, like.shape, like.dtype, init=lambda shape, dtype: drawn()[name]
        )

    like = leaves.outline(maker, input_size, dtype)
    return leaves.unpack(
        like, {name: parameter(name, leaf) for name, leaf in leaves.pack(like).items()}
    )
