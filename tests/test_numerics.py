"""Norms that neither overflow nor vanish, and the shift by one step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrnn import numerics


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e25])
@pytest.mark.parametrize("batch_axes", [0, 1])
def test_the_norm_is_that_of_all_leaves_together(scale, batch_axes):
    rng = np.random.default_rng(0)
    tree = [rng.standard_normal((2, 3)), rng.standard_normal((2, 4, 5))]
    flat = np.concatenate([leaf.reshape(2, -1) for leaf in tree], axis=1)
    expected = np.linalg.norm(flat, axis=1) if batch_axes else np.linalg.norm(flat)
    scaled = jax.tree.map(lambda a: jnp.asarray(scale * a, jnp.float32), tree)
    found = numerics.norm(scaled, batch_axes).value
    np.testing.assert_allclose(found, scale * expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-20, 1e20, 5e37])
def test_clipping_keeps_the_direction_of_each_example(scale):
    direction = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    clipped = numerics.clip_norm(jnp.asarray(scale * direction), 1e-3, batch_axes=1)
    unit = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 0.0]])
    expected = 1e-3 * unit if scale > 1 else scale * direction
    np.testing.assert_allclose(clipped, expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e38])
def test_clipping_keeps_the_phase_of_complex_entries(scale):
    tree = [jnp.float32(2 * scale), jnp.complex64((2 + 1j) * scale)]
    found = numerics.clip_norm(tree, 1e-3)
    np.testing.assert_allclose(found, [2e-3 / 3, (2e-3 + 1e-3j) / 3], rtol=1e-6)


def test_the_norm_of_nothing_is_zero():
    assert float(numerics.norm([]).value) == 0
    assert float(numerics.norm(jnp.zeros(3)).value) == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_what_precedes_a_step_is_shifted_by_one(reverse):
    after = jnp.arange(1, 5)
    found = numerics.shift(jnp.array(9), after, reverse)
    assert found.tolist() == ([2, 3, 4, 9] if reverse else [9, 1, 2, 3])
    assert numerics.shift(jnp.array(9), after[:0], reverse).shape == (0,)


def test_normalization_is_in_float32_for_a_narrow_array():
    a = 300 + np.arange(6.0).reshape(2, 3)
    found = numerics.normalize(jnp.asarray(a, jnp.float16), 1e-5)
    expected = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True))
    assert found.dtype == jnp.float16
    np.testing.assert_allclose(found, expected, rtol=2e-3)
