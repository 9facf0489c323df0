"""A cell that Keras's own tests define, as one of jrnn: two states, one output."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jrnn
from jrnn.forms import Plain
from jrnn.types import Cell
from jrnn.values import value


class Pair(NamedTuple):
    """Both parts of the state, or of its kernels."""

    first: jax.Array
    second: jax.Array


class Arrays(NamedTuple):
    """Parameters."""

    kernel: jax.Array  # [F, H]
    recurrent: Pair  # [H, H] each


@value
class TwoStates(Cell):
    """s1' = x W + s1 U1,  s2' = x W + s2 U2;  the output is s1' + s2'."""

    hidden_size: int
    feature_axes = 1

    @property
    def output_size(self) -> int:
        return self.hidden_size

    @property
    def form(self) -> Plain:
        return Plain(self._step)

    def init(self, key: Any, input_size: int, dtype: Any = jnp.float32) -> Arrays:
        size = self.hidden_size
        draw = jax.nn.initializers.lecun_normal()
        x, first, second = jax.random.split(key, 3)
        kernels = Pair(*(draw(k, (size, size), dtype) for k in (first, second)))
        return Arrays(draw(x, (input_size, size), dtype), kernels)

    def initial_state(self, params: Arrays, batch_shape: Any = ()) -> Pair:
        zeros = jnp.zeros((*batch_shape, self.hidden_size), params.kernel.dtype)
        return Pair(zeros, zeros)

    def prepare(self, params: Arrays, **options: Any) -> Arrays:
        return params

    def project(self, params: Arrays, x: jax.Array, **options: Any) -> jax.Array:
        return x @ params.kernel

    def _step(self, params: Arrays, state: Pair, u: jax.Array) -> Pair:
        return Pair(*(u + s @ w for s, w in zip(state, params.recurrent, strict=True)))

    def read(self, params: Arrays, state: Pair, u: jax.Array) -> jax.Array:
        return state.first + state.second


def build(weights: Any, config: Any) -> Any:
    """Returns the layer that an `RNN` over one or several such cells is."""
    arrays = [jnp.asarray(w) for w in weights]
    params = [
        Arrays(kernel, Pair(first, second))
        for kernel, first, second in zip(*[iter(arrays)] * 3, strict=True)
    ]
    options = config["config"]
    layers = [
        jrnn.Recurrent(
            TwoStates(own.kernel.shape[1]),
            reverse=options["go_backwards"],
            return_sequence=options["return_sequences"] or own is not params[-1],
        )
        for own in params
    ]
    if len(layers) == 1:
        return layers[0], params[0]
    return jrnn.Sequential(*layers), tuple(params)


def state_from(layer: Any, initial: Any) -> Any:
    """Pairs up a flat list of states."""
    pairs = [Pair(*two) for two in zip(*[iter(initial)] * 2, strict=True)]
    return tuple(pairs) if isinstance(layer, jrnn.Sequential) else pairs[0]
