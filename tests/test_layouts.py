"""How the gated kernel splits time is what was measured; long on accelerators."""

import jax
import jax.numpy as jnp
import pytest

import jrnn
from jrnn import kernels
from jrnn.kernels.gated import layout as layouts


def choose(time, batch, inputs, units):
    cell = jrnn.LSTM(units)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), inputs))
    state = jax.eval_shape(lambda p: cell.initial_state(p, (batch,)), params)
    xs = jax.ShapeDtypeStruct((time, batch, inputs), jnp.float32)
    inputs = kernels.Inputs(xs, None, None, None)
    return layouts.choose(cell, kernels.Loop(params, state, state, inputs))


@pytest.mark.parametrize(
    "sizes, layout",
    [
        ((128, 32, 128, 128), (16, True, False)),
        ((128, 16, 256, 512), (32, True, False)),
        ((512, 64, 64, 256), (16, True, False)),
        ((100, 128, 28, 128), (4, False, True)),
        ((64, 32, 64, 256), (16, True, False)),
        ((100, 256, 128, 256), (4, True, False)),
        ((128, 128, 128, 128), (8, True, False)),
        ((4096, 16, 64, 64), (32, False, False)),
        ((128, 1, 128, 256), (128, True, False)),
    ],
)
def test_layouts_are_those_that_were_measured(sizes, layout):
    assert choose(*sizes) == layouts.Layout(*layout)


def test_chunks_are_long_on_accelerators():
    long = layouts.Layout(layouts.MAX_STEPS, save=True, joint=False)
    assert layouts.accelerated(2 * layouts.MAX_STEPS) == long
