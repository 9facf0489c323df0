"""The mistakes of beginners, and what each is told: never an error of JAX or Python."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jrnn
from jrnn import training

KEY = jax.random.key(0)
XS = jnp.ones((4, 3, 5))
LSTM, GRU = jrnn.LSTM(6), jrnn.GRU(6)
PARAMS = LSTM.init(KEY, 5)
LAYER = jrnn.Recurrent(LSTM)
MODEL = jrnn.Sequential(jrnn.Embed(7, 5), LAYER, jrnn.Dense(7))
MODEL_PARAMS = MODEL.init(KEY)
IDS = jnp.array([[1, 2]])


class Tensor:
    """Stands for a tensor of PyTorch."""

    __module__ = "torch"
    shape, ndim, dtype = (4, 3, 5), 3, "torch.float32"

    def __array__(self, *args, **options):
        return np.ones(self.shape, np.float32)


class PackedSequence(NamedTuple):
    """Stands for that of PyTorch."""

    data: np.ndarray
    batch_sizes: np.ndarray
    sorted_indices: None = None
    unsorted_indices: None = None


PackedSequence.__module__ = "torch.nn.utils.rnn"
PACKED = PackedSequence(np.ones((12, 5)), np.array([4, 4, 4]))


def generate(**options):
    return jrnn.generate(MODEL, MODEL_PARAMS, None, IDS, 3, **options)


MISTAKES = {
    # ---- what goes in
    "time before batch, with lengths": (
        lambda: jrnn.scan(LSTM, PARAMS, None, XS, lengths=jnp.array([3, 3, 3])),
        ValueError,
        r"lengths must have the batch shape \[4\] of xs, got \[3\]",
    ),
    "features in front": (
        lambda: jrnn.scan(LSTM, PARAMS, None, jnp.ones((4, 5, 3))),
        ValueError,
        r"xs must have 5 features on its last axis, but its shape is \[4, 5, 3\]",
    ),
    "features in front, in a layer": (
        lambda: LAYER.apply(PARAMS, None, jnp.ones((4, 5, 3))),
        ValueError,
        r"xs must have 5 features on its last axis, but its shape is \[4, 5, 3\]",
    ),
    "nested lists": (
        lambda: jrnn.scan(LSTM, PARAMS, None, [[[1.0, 2.0]]]),
        TypeError,
        r"xs must contain arrays, got list with 1.0 in it. Make one array: "
        "`jnp.asarray",
    ),
    "lists of unequal lengths": (
        lambda: jrnn.scan(LSTM, PARAMS, None, np.array([[1], [1, 2]], object)),
        TypeError,
        "got an array of object. Pad sequences of different lengths",
    ),
    "a tensor of PyTorch": (
        lambda: jrnn.scan(LSTM, PARAMS, None, Tensor()),
        TypeError,
        r"xs contains a torch.Tensor. Convert it with `jnp.asarray\(x.detach",
    ),
    "a tensor of PyTorch, in a layer": (
        lambda: MODEL.layers[2].apply(MODEL_PARAMS[2], (), Tensor()),
        TypeError,
        "xs contains a torch.Tensor. Convert it",
    ),
    "a packed sequence of PyTorch": (
        lambda: jrnn.scan(LSTM, PARAMS, None, PACKED),
        TypeError,
        "xs is a PackedSequence of PyTorch. Unpack it",
    ),
    "a tensor of PyTorch for one step": (
        lambda: jrnn.step(LSTM, PARAMS, None, Tensor()),
        TypeError,
        "x contains a torch.Tensor",
    ),
    "ids without an embedding": (
        lambda: jrnn.scan(LSTM, PARAMS, None, jnp.ones((4, 3), int)),
        ValueError,
        r"xs must have 5 features on its last axis, but its shape is \[4, 3\]",
    ),
    "vectors for an embedding": (
        lambda: MODEL.apply(MODEL_PARAMS, None, XS),
        TypeError,
        "xs must be integers, got float(32|64). `jrnn.Embed` takes integer ids",
    ),
    "lengths beyond the time": (
        lambda: jrnn.scan(LSTM, PARAMS, None, XS, lengths=jnp.array([3, 9, 1, 1])),
        ValueError,
        r"lengths\[1\] is 9",
    ),
    "lengths as a mask": (
        lambda: jrnn.scan(LSTM, PARAMS, None, XS, mask=jnp.array([3, 3, 1, 1])),
        TypeError,
        "mask must be boolean, got int(32|64). Integer lengths go in `lengths=`",
    ),
    "a seed for a key": (
        lambda: jrnn.scan(LSTM, PARAMS, None, XS, key=0),
        TypeError,
        r"key must be a key of JAX, such as `jax.random.key\(0\)`, got 0",
    ),
    # ---- parameters and states
    "parameters of another cell": (
        lambda: jrnn.scan(LSTM, GRU.init(KEY, 5), None, XS),
        TypeError,
        r"params must be a LSTMParams\(.*, got GRUParams\(.*init` of LSTM",
    ),
    "parameters of another size": (
        lambda: jrnn.scan(LSTM, jrnn.LSTM(7).init(KEY, 5), None, XS),
        ValueError,
        r"params.w_x must have shape \[5, 24\], got \[5, 28\]",
    ),
    "parameters of another layer": (
        lambda: jrnn.Dense(2).apply(PARAMS, (), XS),
        TypeError,
        r"params must be DenseParams, got LSTMParams\(",
    ),
    "parameters of one direction": (
        lambda: jrnn.Bidirectional(LSTM).apply(PARAMS, None, XS),
        TypeError,
        r"params must be BidirectionalParams, got LSTMParams\(",
    ),
    "parameters of a part": (
        lambda: MODEL.apply(MODEL_PARAMS[1:], None, IDS),
        ValueError,
        "params must have 3 entries",
    ),
    "a forgotten wrapper": (
        lambda: jrnn.scan(jrnn.LearnedState(LSTM), PARAMS, None, XS),
        TypeError,
        r"params must be a LearnedStateParams\(.*, got LSTMParams",
    ),
    "the state of another cell": (
        lambda: jrnn.scan(LSTM, PARAMS, GRU.initial_state(GRU.init(KEY, 5), (4,)), XS),
        TypeError,
        r"state must be a LSTMState\(.*got GRUState",
    ),
    "the state of another batch": (
        lambda: jrnn.scan(LSTM, PARAMS, LSTM.initial_state(PARAMS, (2,)), XS),
        ValueError,
        r"state.h must have shape \[4, 6\], got \[2, 6\]",
    ),
    # ---- calls
    "a model called": (
        lambda: MODEL(XS),
        TypeError,
        r"Sequential is not callable. Write `state, ys = layer.apply\(params, None",
    ),
    "a cell called": (
        lambda: LSTM(XS),
        TypeError,
        r"LSTM is not callable. Write `state, ys = jrnn.scan\(cell, params, None, xs\)",
    ),
    "a layer without a state": (
        lambda: LAYER.apply(PARAMS, XS),
        TypeError,
        r"takes parameters, a state and inputs, got 2 .*layer.apply\(params, None",
    ),
    "a seed to draw a cell": (
        lambda: LSTM.init(0, 5),
        TypeError,
        "key must be a key of",
    ),
    "a seed to draw a layer": (
        lambda: jrnn.Recurrent(GRU).init(0, 5),
        TypeError,
        "key must be a key of",
    ),
    "a seed to draw a model": (
        lambda: MODEL.init(0),
        TypeError,
        "key must be a key of",
    ),
    "the inputs in place of their size": (
        lambda: LSTM.init(KEY, XS),
        TypeError,
        r"input_size must be an integer, got an array of shape \[4, 3, 5\]. Did you me",
    ),
    "the inputs in place of their size, in a layer": (
        lambda: jrnn.Dense(2).init(KEY, XS),
        TypeError,
        "Did you mean 5, its last axis",
    ),
    # ---- options
    "a name of an activation": (
        lambda: jrnn.Elman(4, activation="relu"),
        TypeError,
        "activation must be a function, such as `jrnn.activations.relu`.*got 'relu'",
    ),
    "sizes in a row": (
        lambda: jrnn.LSTM(4, 8),
        TypeError,
        "gate must be a function",
    ),
    "percent": (
        lambda: jrnn.Dropout(50),
        ValueError,
        r"rate must be a probability in \[0, 1",
    ),
    "a cell in a stack of layers": (
        lambda: jrnn.Sequential(LSTM, jrnn.Dense(2)),
        TypeError,
        "a layer of Sequential must be a layer, got LSTM.*Wrap a cell in",
    ),
    "a function in a stack of layers": (
        lambda: jrnn.Sequential(jrnn.Dense(2), jax.nn.relu),
        TypeError,
        "must be a layer, got .*a function of one step in `jrnn.Map`",
    ),
    "a layer in a layer": (
        lambda: jrnn.Recurrent(LAYER),
        TypeError,
        "Recurrent.cell must be a cell, got the layer",
    ),
    "a model in a wrapper of cells": (
        lambda: jrnn.MixedPrecision(MODEL),
        TypeError,
        "MixedPrecision.cell must be a cell, got the layer",
    ),
    "a name of an optimizer": (
        lambda: training.optimizer("adam"),
        TypeError,
        "tx must be an optax optimizer, got 'adam'.*use for example `optax.adam",
    ),
    "an optimizer without its rate": (
        lambda: training.optimizer(optax.adam),
        TypeError,
        "tx must be an optax optimizer, got <function adam.*`optax.adam",
    ),
    "a probability above one": (
        lambda: generate(key=KEY, top_p=1.5),
        ValueError,
        r"top_p must be in \(0, 1\], got 1.5",
    ),
    "an end that is no token": (
        lambda: generate(end=7),
        ValueError,
        "end is 7, but the model has 7 tokens",
    ),
    "a seed to generate": (
        lambda: generate(key=3),
        TypeError,
        "key must be a key of JAX",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(name):
    make, error, message = MISTAKES[name]
    with pytest.raises(error, match=message):
        make()


def test_lengths_beyond_the_time_are_clipped_under_jit():
    run = lambda lengths: jrnn.scan(LSTM, PARAMS, None, XS, lengths=lengths)[1]
    full = jrnn.scan(LSTM, PARAMS, None, XS)[1]
    np.testing.assert_allclose(jax.jit(run)(jnp.array([9, 9, 9, 9])), full, rtol=1e-6)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_the_accuracy_is_that_of_valid_steps():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 4, 5)), rng.integers(0, 5, (2, 4))
    labels[0, :3] = logits[0, :3].argmax(-1)  # some are right
    mask = np.array([[1, 1, 0, 1], [0, 1, 1, 0]], bool)
    right = logits.argmax(-1) == labels
    expected = right[mask].mean()
    assert 0 < expected < 1 and expected != right.mean()
    logits[~mask], labels[~mask] = np.nan, 99  # padding
    actual = training.accuracy(jnp.array(logits), labels, jnp.array(mask))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert training.accuracy(jnp.array(logits), labels, jnp.zeros_like(mask)) == 0
    bad = jnp.full((1, 2, 4), jnp.nan)
    assert training.accuracy(bad, jnp.zeros((1, 2), int)) == 0
    with pytest.raises(ValueError, match="contains the id 4"):
        training.accuracy(jnp.ones((1, 1, 4)), jnp.array([[4]]))
