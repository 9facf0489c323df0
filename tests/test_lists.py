"""Lists stand for arrays in losses and in sequences that are cut."""

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import training
from tests.cases import assert_close, randomise, shapes

LOGITS, LABELS = [[[1.0, 2.0], [0.0, 1.0]]], [[1, 0]]


@pytest.mark.parametrize(
    ("loss", "given"),
    [
        (training.mean_over_valid, ([[1.0, 3.0]],)),
        (training.cross_entropy, (LOGITS, LABELS)),
        (training.accuracy, (LOGITS, LABELS)),
        (training.squared_error, (LOGITS, [[[3, 1], [0, 2]]])),
    ],
)
def test_losses_take_lists(loss, given):
    mask = [[True, False]]
    assert loss(*given, mask) == loss(*map(jnp.asarray, given), jnp.asarray(mask))
    assert loss(*given) != loss(*given, mask)
    with pytest.raises(TypeError, match="mask must be boolean"):
        loss(*given, [[1, 0]])


def first_random_chunk(sequences):
    return next(training.random_chunks(sequences, 2, seed=0))


def chunks(sequences):
    return training.split_into_chunks(sequences, 2)


@pytest.mark.parametrize("cut", [chunks, first_random_chunk])
def test_sequences_that_are_cut_may_be_lists(cut):
    rows = [[1, 2, 3], [4, 5, 6]]
    expected = cut((np.array(rows), np.array(rows) / 2))
    assert_close(cut((rows, [[0.5, 1.0, 1.5], [2.0, 2.5, 3.0]])), expected, 0)
    arrays = [np.ones((2, 3)), np.ones((2, 3, 4))]  # a list of arrays is a tree
    assert_close(cut(arrays).data, [*cut(tuple(arrays)).data], 0)


@pytest.mark.parametrize("cut", [chunks, first_random_chunk])
def test_sequences_of_different_lengths_are_told_to_be_padded(cut):
    with pytest.raises(ValueError, match=r"sequences must.*jrnn\.sequences\.pad"):
        cut([[1, 2, 3], [1]])


@pytest.mark.parametrize("method", [training.BPTT(), training.TBPTT(2)], ids=str)
def test_gradients_take_targets_in_lists(method):
    cell, xs, targets = jrnn.Elman(2), jnp.ones((1, 5, 2)), [[1, 0, 1, 1, 0]]
    params = randomise(shapes(cell, 2), 0)
    gradient = training.value_and_grad(cell, training.cross_entropy, method)
    expected = gradient(params, None, xs, jnp.array(targets))
    assert_close(gradient(params, None, xs, targets), expected, 0)
    with pytest.raises(TypeError, match=r"xs must contain arrays.*jnp\.asarray\(xs\)"):
        gradient(params, None, xs.tolist(), targets)


def test_the_norm_of_numpy_arrays_is_that_of_arrays_of_jax():
    assert training.gradient_norm([np.full(3, 2.0), 2.0]) == 4  # without a warning
