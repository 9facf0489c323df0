"""The laws that every cell obeys: each test runs for every row of `cases.CASES`.

Everything is float64, and the oracle is numpy: values, and derivatives by differences
of its values. One compiled function serves several tests.
"""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests import oracles
from tests.cases import CASES, B, T, assert_close, randomise, setting

every_cell = pytest.mark.parametrize("case", CASES, ids=str)
LENGTHS = np.array([3, T])


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def total(result):
    """A loss that weighs every output and state differently; numpy or JAX."""
    loss = 0.0
    for leaf in jax.tree.leaves(result):
        loss = (
            loss + (leaf * np.cos(np.arange(leaf.size) + 1.0).reshape(leaf.shape)).sum()
        )
    return loss


@functools.partial(jax.jit, static_argnames=("cell", "reverse", "second"))
def derivatives(cell, args, direction, lengths, reverse, second):
    """Outputs of a scan and the gradient of its loss; along a direction, if `second`,
    also the jvp of the loss and its second derivative.
    """

    def loss(args):
        result = jrnn.scan(cell, *args, lengths=lengths, reverse=reverse)
        return total(result), result

    slope = jax.grad(loss, has_aux=True)
    if not second:
        gradient, result = slope(args)
        return result, gradient, None
    gradient, change, result = jax.jvp(slope, (args,), (direction,), has_aux=True)
    _, along, _ = jax.jvp(loss, (args,), (direction,), has_aux=True)
    pairs = zip(jax.tree.leaves(change), jax.tree.leaves(direction), strict=True)
    return result, gradient, (along, sum(jnp.vdot(a, b) for a, b in pairs))


def moved(args, direction, by):
    return jax.tree.map(
        lambda a, d: np.asarray(a) + by * np.asarray(d), args, direction
    )


def check_derivatives(case, args, lengths, reverse):
    """Compares values and derivatives with the oracle's and its differences."""
    direction = randomise(args, 7, scale=1.0)
    padded = args
    if lengths is not None:
        params, state, xs = args
        step = jnp.arange(T).reshape(1, T, *(1,) * (xs.ndim - 2))
        outside = step >= lengths.reshape(B, *(1,) * (xs.ndim - 1))
        padded = params, state, jnp.where(outside, jnp.nan, xs)
    result, gradient, along = derivatives(
        case.cell, padded, direction, lengths, reverse, lengths is None
    )
    assert_close(result, oracles.unroll(case, *args, lengths, reverse), 1e-11)

    def loss(by, where=direction):
        params, state, xs = moved(args, where, by)
        return total(oracles.unroll(case, params, state, xs, lengths, reverse))

    if along is not None:
        slope, bend = (loss(1e-6) - loss(-1e-6)) / 2e-6, loss(1e-3) + loss(-1e-3)
        np.testing.assert_allclose(along[0], slope, rtol=1e-6)
        bend = (bend - 2 * loss(0.0)) / 1e-6
        np.testing.assert_allclose(along[1], bend, rtol=1e-3, atol=1e-3)
    leaves, structure = jax.tree.flatten(direction)
    for which, leaf in enumerate(leaves):  # the gradient, leaf by leaf
        alone = [
            leaf if i == which else jnp.zeros_like(a) for i, a in enumerate(leaves)
        ]
        one = functools.partial(loss, where=jax.tree.unflatten(structure, alone))
        actual = jnp.vdot(jax.tree.leaves(gradient)[which], leaf)
        expected = (one(1e-6) - one(-1e-6)) / 2e-6
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
    return gradient


@every_cell
def test_agrees_with_numpy_in_values_and_derivatives(case):
    gradient, _, _ = check_derivatives(case, setting(case), None, False)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path)
        assert np.all(np.asarray(leaf) != 0), f"{name} has dead entries"


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_inert_for_values_and_derivatives(case, reverse):
    check_derivatives(case, setting(case), LENGTHS, reverse)


@every_cell
def test_a_scan_is_its_steps_and_can_be_cut_anywhere(case):
    params, state, xs = setting(case)
    final, ys = jrnn.scan(case.cell, params, state, xs)
    middle, tail = jrnn.scan(case.cell, params, state, xs[:, :3]), xs[:, 3:]
    last, rest = jrnn.scan(case.cell, params, middle[0], tail)
    assert_close((last, jnp.concatenate([middle[1], rest], axis=1)), (final, ys), 1e-12)
    for t in range(T):
        state, y = jrnn.step(case.cell, params, state, xs[:, t])
        assert_close(y, ys[:, t], 1e-12)
    assert_close(state, final, 1e-12)


@every_cell
def test_project_and_read_treat_time_and_batch_alike(case):
    cell = case.cell
    params, state, xs = setting(case)
    params = cell.prepare(params, batch_shape=(B,))
    at = lambda tree, t: jax.tree.map(lambda a: a[:, t], tree)
    assert_close(cell.project(params, xs[:, 2]), at(cell.project(params, xs), 2), 1e-12)
    states = jax.tree.map(lambda a: jnp.stack([a, 2 * a], axis=1), state)
    us = cell.project(params, xs[:, :2])
    ys = cell.read(params, states, us)
    assert_close(cell.read(params, at(states, 1), at(us, 1)), ys[:, 1], 1e-12)


@every_cell
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_step_keeps_structure_shape_and_dtype(case, dtype):
    params, before, xs = setting(case, (2, 5), dtype)
    after, y = jrnn.step(case.cell, params, before, xs[:, :, 0])
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert y.dtype == dtype and y.shape[-1] == case.cell.output_size


@every_cell
def test_transformations_do_not_change_the_result(case):
    params, state, xs = setting(case)
    run = functools.partial(jrnn.scan, case.cell)
    expected = run(params, state, xs)
    assert_close(run(params, state, xs, unroll=3), expected, 1e-12)
    assert_close(jax.vmap(functools.partial(run, params))(state, xs), expected, 1e-12)
    with jax.disable_jit():
        assert_close(run(params, state, xs), expected, 1e-12)


@every_cell
def test_is_a_plain_value(case):
    assert pickle.loads(pickle.dumps(case.cell)) == case.cell
    assert hash(case.cell) == hash(pickle.loads(pickle.dumps(case.cell)))
    assert "0x" not in repr(case.cell)
