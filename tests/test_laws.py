"""The laws that every cell obeys: each test runs for every row of `cases.CASES`."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jrnn
from tests import oracles
from tests.cases import CASES, T, assert_close, setting

every_cell = pytest.mark.parametrize("case", CASES, ids=str)


def total(tree):
    """A loss that weighs every output and state differently."""
    weigh = lambda leaf: jnp.sum(
        leaf * jnp.cos(jnp.arange(leaf.size) + 1.0).reshape(leaf.shape)
    )
    return sum(weigh(leaf) for leaf in jax.tree.leaves(tree))


@functools.partial(jax.jit, static_argnames=("cell", "reverse", "unroll", "remat"))
def loss_and_gradients(cell, args, reverse=False, unroll=1, remat=None, **flags):
    """Loss of a scan, and its gradients in parameters, state and inputs."""

    def loss(args):
        how = {"reverse": reverse, "unroll": unroll, "remat": remat}
        return total(jrnn.scan(cell, *args, **flags, **how))

    return jax.value_and_grad(loss)(args)


@every_cell
def test_agrees_with_numpy_in_float64(case):
    with jax.enable_x64(True):
        args = setting(case.cell, dtype=jnp.float64)
        actual = jrnn.scan(case.cell, *args)
        expected = oracles.unroll(
            case.oracle, case.cell, *jax.tree.map(np.asarray, args)
        )
        assert_close(actual, expected, 1e-12)


@every_cell
def test_gradients_agree_with_finite_differences_to_second_order(case):
    with jax.enable_x64(True):
        params, state, xs = setting(case.cell, dtype=jnp.float64)
        run = functools.partial(jrnn.scan, case.cell)
        check_grads(run, (params, state, xs[:, :3]), order=2, modes=["fwd", "rev"])


@every_cell
def test_every_parameter_matters(case):
    args = setting(case.cell)
    _, (gradients, _, _) = loss_and_gradients(case.cell, args)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert np.all(np.asarray(leaf) != 0), f"{name} has dead entries"


@every_cell
def test_steps_make_a_scan(case):
    params, state, xs = setting(case.cell)
    final, ys = jrnn.scan(case.cell, params, state, xs)
    for t in range(T):
        state, y = jrnn.step(case.cell, params, state, xs[:, t])
        assert_close(y, ys[:, t])
    assert_close(state, final)


@every_cell
def test_a_scan_can_be_cut_in_two(case):
    params, state, xs = setting(case.cell)
    final, ys = jrnn.scan(case.cell, params, state, xs)
    middle, head = jrnn.scan(case.cell, params, state, xs[:, :3])
    last, tail = jrnn.scan(case.cell, params, middle, xs[:, 3:])
    assert_close(jnp.concatenate([head, tail], axis=1), ys)
    assert_close(last, final)


@every_cell
def test_project_and_read_treat_time_and_batch_alike(case):
    params, state, xs = setting(case.cell)
    params = case.cell.prepare(params)
    us = case.cell.project(params, xs)
    for t in range(T):
        u = case.cell.project(params, xs[:, t])
        assert_close(u, jax.tree.map(lambda a, t=t: a[:, t], us))
        y = case.cell.read(params, state, u)
        assert_close(
            case.cell.read(
                params,
                jax.tree.map(lambda a: a[0], state),
                jax.tree.map(lambda a: a[0], u),
            ),
            y[0],
        )


@every_cell
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_step_keeps_structure_shape_and_dtype(case, dtype):
    params = case.cell.init(jax.random.key(0), 3, dtype)
    before = case.cell.initial_state(params, (2, 5))
    after, ys = jrnn.scan(case.cell, params, before, jnp.ones((2, 5, T, 3), dtype))
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert ys.dtype == dtype and ys.shape == (2, 5, T, case.cell.output_size)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_inert_for_values_and_gradients(case, reverse):
    params, state, xs = setting(case.cell)
    lengths = jnp.array([3, T])
    padded = xs.at[0, 3:].set(jnp.nan)
    _, actual = loss_and_gradients(
        case.cell, (params, state, padded), reverse=reverse, lengths=lengths
    )
    final, ys = jrnn.scan(
        case.cell, params, state, padded, lengths=lengths, reverse=reverse
    )
    np.testing.assert_array_equal(ys[0, 3:], 0)
    for row, length in enumerate([3, T]):
        one = jax.tree.map(lambda a, row=row: a[row], state)
        short = jrnn.scan(case.cell, params, one, xs[row, :length], reverse=reverse)
        assert_close(
            (jax.tree.map(lambda a, row=row: a[row], final), ys[row, :length]), short
        )

    def loss_by_rows(args):
        params, state, xs = args
        weights = jnp.cos(jnp.arange(ys.size) + 1.0).reshape(ys.shape)
        out = 0.0
        finals = []
        for row, length in enumerate([3, T]):
            one = jax.tree.map(lambda a, row=row: a[row], state)
            last, y = jrnn.scan(
                case.cell, params, one, xs[row, :length], reverse=reverse
            )
            out += jnp.sum(y * weights[row, :length])
            finals.append(last)
        return out + total(jax.tree.map(lambda *a: jnp.stack(a), *finals))

    expected = jax.grad(loss_by_rows)((params, state, xs))
    assert_close(actual, expected, 1e-4)


@every_cell
def test_transformations_do_not_change_the_result(case):
    args = setting(case.cell)
    expected = loss_and_gradients(case.cell, args)
    assert_close(loss_and_gradients(case.cell, args, unroll=3), expected, 1e-4)
    with jax.disable_jit():
        assert_close(jrnn.scan(case.cell, *args), jrnn.scan(case.cell, *args))
    params, state, xs = args
    rows = jax.vmap(functools.partial(jrnn.scan, case.cell, params))(state, xs)
    assert_close(rows, jrnn.scan(case.cell, *args))


@every_cell
def test_is_a_plain_value(case):
    assert pickle.loads(pickle.dumps(case.cell)) == case.cell
    assert hash(case.cell) == hash(pickle.loads(pickle.dumps(case.cell)))
    assert "0x" not in repr(case.cell)
