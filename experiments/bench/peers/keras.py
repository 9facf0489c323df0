"""Keras with its JAX backend, batch first."""

from typing import Any

import jax.numpy as jnp
import keras

from experiments.bench.config import Size
from experiments.bench.peers import data

LAYERS = {
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
    "elman": keras.layers.SimpleRNN,
}


def build(cell: str, size: Size, method: str) -> Any:
    """Returns the function, its parameters and its inputs."""
    del method
    layer = LAYERS[cell](size.hidden, return_sequences=True)
    xs = jnp.asarray(data.inputs(size, time_major=False))
    layer.build(xs.shape)
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def run(params: Any, xs: Any) -> Any:
        return layer.stateless_call(params, fixed, xs)[0]

    return run, [variable.value for variable in layer.trainable_variables], xs
