"""Options of every type of number: they promote nothing, hash, and are checked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import activations, diagnostics
from jrnn.training import batches, checkpoints
from tests.cases import randomise, shapes

HALF = jnp.bfloat16
CELLS = [
    lambda number: jrnn.LEM(4, dt=number),
    lambda number: jrnn.CoRNN(4, dt=number, gamma=number, epsilon=number),
    lambda number: jrnn.JANET(4, beta=number, forget_bias=number),
    lambda number: jrnn.HGRN(4, forget_floor=number),
    lambda number: jrnn.Zoneout(jrnn.GRU(4), number),
    lambda number: jrnn.Zoneout(jrnn.LSTM(4), (number, number)),
    lambda number: jrnn.ClipState(jrnn.LSTM(4), (None, number)),
    lambda number: jrnn.RecurrentDropout(jrnn.GRU(4), number),
    lambda number: jrnn.Elman(4, activations.LeakyRelu(number)),
    lambda number: jrnn.Elman(4, activations.Clipped(activations.tanh, number)),
    lambda number: jrnn.GRU(4, gate=activations.HardSigmoid(number, number)),
]
NUMBERS = [np.float64, np.float32, jnp.float32, HALF]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("make", CELLS)
def test_a_number_of_any_type_is_the_same_option(make, number):
    cell, plain = make(number(0.5)), make(0.5)
    assert (cell, hash(cell), repr(cell)) == (plain, hash(plain), repr(plain))


@pytest.mark.parametrize("make", CELLS)
def test_an_option_does_not_promote_a_state_in_half_precision(make):
    cell = make(np.float64(0.5))
    params = randomise(shapes(cell, 3, HALF), 1, HALF)
    xs = jnp.ones((3, 3), HALF)
    run = lambda: jrnn.scan(cell, params, None, xs, key=jax.random.key(0))
    state, ys = jax.eval_shape(run)
    assert {leaf.dtype for leaf in jax.tree.leaves((state, ys))} == {jnp.dtype(HALF)}


def test_dropout_keeps_the_precision_of_its_input():
    layer = jrnn.Dropout(np.float64(0.5))
    xs = jnp.ones((2, 3), HALF)
    assert layer.apply((), (), xs, key=jax.random.key(0))[1].dtype == HALF


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: activations.LeakyRelu("small"), "LeakyRelu.slope must be a number"),
        (lambda: activations.Clipped(3, 1.0), "Clipped.activation must be a function"),
        (lambda: jrnn.kernels.Parallel(window=2.5), "window must be an integer"),
        (lambda: jrnn.kernels.Parallel(max_iterations=2.5), "must be an integer"),
        (lambda: jrnn.Zoneout(jrnn.LSTM(4), (0.5, "h")), "rates must be a number"),
    ],
)
def test_what_is_no_number_is_named_when_it_is_given(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda epsilon: jrnn.LayerNormLSTM(4, epsilon=epsilon),
        lambda epsilon: jrnn.LayerNormGRU(4, epsilon=epsilon),
        lambda epsilon: jrnn.LayerNormed(jrnn.LSTM(4), epsilon),
    ],
)
def test_zeros_are_not_divided_by_their_deviation(make):
    with pytest.raises(ValueError, match="epsilon must be positive, got 0"):
        make(0.0)


@pytest.mark.parametrize("leaves", ["w_h+w_x", ["w_h", "w_x"], ("w_h", 1)])
def test_names_are_a_tuple_of_strings(leaves):
    with pytest.raises(TypeError, match="WeightDrop.leaves must be a tuple of names"):
        jrnn.WeightDrop(jrnn.LSTM(4), 0.5, leaves)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compute", "bfloat"),
        ("compute", jnp.int8),
        ("compute", 16),
        ("compute", None),
        ("state", jnp.int32),
        ("state", jnp.complex64),
    ],
)
def test_a_precision_is_that_of_floats(name, value):
    message = f"MixedPrecision.{name} must be a floating-point dtype, such as"
    with pytest.raises(TypeError, match=message):
        jrnn.MixedPrecision(jrnn.LSTM(4), **{name: value})
    jrnn.MixedPrecision(jrnn.LSTM(4), **{name: "float16"})


def measure(look, **options):
    params = jrnn.GRU(4).init(jax.random.key(0), 3)
    return look(jrnn.GRU(4), params, None, jnp.ones((5, 3)), **options)


spectrum = functools.partial(measure, diagnostics.lyapunov_spectrum)
product = functools.partial(measure, diagnostics.jacobian_product)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spectrum(transient=-1), ValueError, "transient must be at least 0"),
        (lambda: spectrum(transient=0.5), TypeError, "transient must be an integer"),
        (lambda: spectrum(exponents=0), ValueError, "exponents must be at least 1"),
        (lambda: spectrum(exponents=5), ValueError, "between 1 and 4"),
        (lambda: product(t=2.5), TypeError, "t must be an integer, got 2.5"),
        (lambda: product(k=0.5), TypeError, "k must be an integer, got 0.5"),
        (lambda: product(k=-1), ValueError, "k must be at least 0, got -1"),
        (lambda: product(t=6), ValueError, "0 <= k <= t <= 5 time steps of xs"),
        *(
            (
                lambda cell=cell: cell.init(jax.random.key(0), 2.5),
                TypeError,
                "input_size must be an integer",
            )
            for cell in (
                jrnn.LEM(4),
                jrnn.CoRNN(4),
                jrnn.UnICORNN(4),
                jrnn.AntisymmetricRNN(4),
                jrnn.Jordan(4, 2),
            )
        ),
        (
            lambda: batches.BatchSplit(2.5, jax.make_mesh((2,), ("batch",))),
            TypeError,
            "batch_size must be an integer",
        ),
    ],
)
def test_a_count_that_is_none_is_named_when_it_is_given(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_checkpoints_have_whole_numbers(tmp_path):
    with pytest.raises(TypeError, match="keep must be an integer"):
        checkpoints.Checkpoints(tmp_path, keep=1.5)
    with checkpoints.Checkpoints(tmp_path, keep=np.uint8(1)) as store:
        with pytest.raises(TypeError, match="step must be an integer"):
            store.save(1.5, {"w": np.ones(3)})
        for step in (1, np.uint8(2)):
            store.save(step, {"w": np.ones(3)})
        assert store.steps() == [2]


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (jrnn.ResidualCell(jrnn.GRU(3)), np.int64(3)),
        (jrnn.LayerNormed(jrnn.GRU(4)), np.int32(3)),
        (jrnn.ConvLSTM(4, (3, 3), (8, 6)), np.int64(3)),
        (jrnn.ConvGRU(4, (3, 3), (8, 6)), (np.int64(8), np.int8(6), np.uint8(3))),
        (jrnn.AttentionCell(jrnn.GRU(4), 100, 6), np.uint8(200)),
        (jrnn.Stack(jrnn.GRU(100), jrnn.GRU(4), skip=True), np.uint8(200)),
    ],
)
def test_input_sizes_of_numpy_do_not_wrap(layer, size):
    plain = tuple(map(int, size)) if isinstance(size, tuple) else int(size)
    assert shapes(layer, size) == shapes(layer, plain)
    with pytest.raises(TypeError, match="input_size must be an integer"):
        shapes(layer, 2.5)
