"""The laws that every cell obeys: each test runs for every row of `cases.CASES`.

Everything is float64, and the oracle is numpy: values, and derivatives by differences
of its values. One compiled function serves several tests. With JRNN_WHOLE=1 the tests
that run for some cells only run for all.
"""

import functools
import os
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.testing import LAWS, Subject, weighted_sum
from tests import oracles
from tests.cases import CASES, B, T, assert_close, randomise, setting

every_cell = pytest.mark.parametrize("case", CASES, ids=str)
LENGTHS = np.array([3, T])
WHOLE = "JRNN_WHOLE" in os.environ


@pytest.fixture(autouse=True)
def float64_without_promotion():
    with (
        jax.enable_x64(True),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
    ):
        yield


@functools.partial(jax.jit, static_argnames=("cell", "reverse", "second"))
def derivatives(cell, args, direction, lengths, reverse, second):
    """Outputs of a scan and the gradient of its loss; along a direction, if `second`,
    also the jvp of the loss and its second derivative.
    """

    def loss(args):
        result = jrnn.scan(cell, *args, lengths=lengths, reverse=reverse)
        return weighted_sum(result), result

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
    args = jax.tree.map(np.asarray, args)
    direction = jax.tree.map(np.asarray, randomise(args, 7, scale=1.0))
    padded = args
    if lengths is not None:
        params, state, xs = args
        step = np.arange(T).reshape(1, T, *(1,) * (xs.ndim - 2))
        outside = step >= lengths.reshape(B, *(1,) * (xs.ndim - 1))
        padded = params, state, np.where(outside, np.nan, xs)
    result, gradient, along = derivatives(
        case.cell, padded, direction, lengths, reverse, lengths is None
    )
    assert_close(result, oracles.unroll(case, *args, lengths, reverse), 1e-11)

    def loss(by, where=direction):
        params, state, xs = moved(args, where, by)
        return weighted_sum(oracles.unroll(case, params, state, xs, lengths, reverse))

    if along is not None:
        slope, bend = (loss(1e-6) - loss(-1e-6)) / 2e-6, loss(1e-3) + loss(-1e-3)
        np.testing.assert_allclose(along[0], slope, rtol=1e-6)
        bend = (bend - 2 * loss(0.0)) / 1e-6
        np.testing.assert_allclose(along[1], bend, rtol=1e-3, atol=1e-3)
    leaves, structure = jax.tree.flatten(direction)
    for which, leaf in enumerate(leaves):  # the gradient, leaf by leaf
        alone = [leaf if i == which else np.zeros_like(a) for i, a in enumerate(leaves)]
        one = functools.partial(loss, where=jax.tree.unflatten(structure, alone))
        actual = np.vdot(jax.tree.leaves(gradient)[which], leaf)
        expected = (one(1e-6) - one(-1e-6)) / 2e-6
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
    return gradient


@every_cell
def test_agrees_with_numpy_in_values_and_derivatives(case):
    gradient, _, _ = check_derivatives(case, setting(case), None, False)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        name = jax.tree_util.keystr(path)
        if "state" in name:  # learned, and not used where a state is given
            continue
        if name.removeprefix("[1].") in case.written_first:
            continue
        assert np.all(np.asarray(leaf) != 0), f"{name} has dead entries"


def directions():
    """Every cell once, every second one in reverse."""
    for number, case in enumerate(CASES):
        for reverse in (False, True) if WHOLE else (number % 2 == 1,):
            way = "reverse" if reverse else "forward"
            yield pytest.param(case, reverse, id=f"{way}-{case}")


@pytest.mark.parametrize(("case", "reverse"), directions())
def test_padding_is_inert_for_values_and_derivatives(case, reverse):
    check_derivatives(case, setting(case), LENGTHS, reverse)


# The oracle tests above are stronger than these laws, and `test_kernels` than the last.
COVERED = {
    "padding is inert",
    "derivatives agree in every mode",
    "every parameter has a gradient",
    "kernels equal the scan",
}
# Without jit every operation is compiled alone, and the loop is the same for all cells.
FOR_SOME = {"jit changes nothing"}


def laws():
    """The laws of one cell follow each other, because they share its programs."""
    for number, case in enumerate(CASES):
        for law in sorted(LAWS.keys() - COVERED):
            if WHOLE or law not in FOR_SOME or number % 8 == 0:
                yield pytest.param(case, law, id=f"{law}-{case}")


@pytest.mark.parametrize(("case", "law"), laws())
def test_a_law_holds(case, law):
    LAWS[law](Subject(case.cell, *setting(case)))


def test_a_learned_state_has_a_gradient():
    case = next(c for c in CASES if isinstance(c.cell, jrnn.LearnedState))
    LAWS["every parameter has a gradient"](Subject(case.cell, *setting(case)))


@every_cell
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_output_has_the_dtype_of_the_parameters(case, dtype):
    def output(params, xs):
        state = case.cell.initial_state(params, (2,))
        return jrnn.step(case.cell, params, state, xs)[1]

    params, _, xs = setting(case, dtype=dtype)
    y = jax.eval_shape(output, params, np.asarray(xs)[:, 0])
    mixed = isinstance(case.cell, jrnn.MixedPrecision)
    assert y.dtype == (case.cell.compute if mixed else dtype)


@every_cell
def test_pickles(case):
    assert pickle.loads(pickle.dumps(case.cell)) == case.cell
    assert hash(case.cell) == hash(pickle.loads(pickle.dumps(case.cell)))
