"""Integers of every type: lengths, ids, labels, targets and counts never wrap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import training
from tests.cases import assert_close, randomise, shapes

TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
every_type = pytest.mark.parametrize("dtype", TYPES)


def limits(dtype):
    """Times on both sides of the largest number of a type, unless it is too long."""
    top = int(np.iinfo(dtype).max)
    return (top, top + 1) if top < 2**16 else (300,)


def known_and_traced(function, value):
    """The results for a NumPy array, for an array of JAX, and for a tracer."""
    results = [function(value)]
    with jax.enable_x64(value.dtype.itemsize == 8 or jax.config.jax_enable_x64):
        array = jnp.asarray(value)
        return [*results, function(array), jax.jit(function)(array)]


@every_type
def test_lengths_of_every_type_are_the_same_lengths(dtype):
    dense, one = jrnn.Dense(1), jax.device_put(np.ones((1, 1), np.float32))
    params = jrnn.layers.DenseParams(one, None)
    for time in limits(dtype):
        xs = jax.device_put(np.ones((2, time, 1), np.float32))
        top = min(time, int(np.iinfo(dtype).max))
        lengths = np.array([top - 1, top], dtype)
        for ys in known_and_traced(
            lambda lengths, xs=xs: dense.apply(params, (), xs, lengths=lengths)[1],
            lengths,
        ):
            sums = np.asarray(ys)[..., 0].sum(1)
            np.testing.assert_array_equal(sums, [top - 1, top])


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_scan_and_a_gradient_count_valid_steps_in_more_than_8_bits(dtype):
    cell = jrnn.Elman(1, bias=False)
    params = jrnn.cells.ElmanParams(jnp.ones((1, 1)), 0.9 * jnp.ones((1, 1)), None)
    time = int(np.iinfo(dtype).max) + 1
    xs = randomise(np.zeros((2, time, 1)), 3)
    narrow = np.array([time - 1, 50], dtype)
    gradient = training.value_and_grad(cell, training.squared_error)

    def both(lengths):
        result = jrnn.scan(cell, params, None, xs, lengths=lengths)
        return result, gradient(params, None, xs, xs, lengths=lengths)

    expected = jax.jit(both)(narrow.astype(np.int32))
    for actual in known_and_traced(both, narrow):
        assert_close(actual, expected)


@pytest.mark.without("jax_enable_x64", reason="the numbers are too large for int32")
def test_numbers_that_are_too_large_are_clipped_or_named():
    dense, params = jrnn.Dense(1), jrnn.layers.DenseParams(jnp.ones((1, 1)), None)
    run = lambda lengths: dense.apply(params, (), jnp.ones((1, 5, 1)), lengths=lengths)
    huge = np.array([2**32 + 3], np.int64)  # 3 in 32 bits
    with pytest.raises(ValueError, match="lengths contains 4294967299, .* for int32"):
        run(huge)
    assert float(jax.jit(run)(jnp.array([2**31 + 3], jnp.uint32))[1].sum()) == 5
    embed = jrnn.Embed(4, 3)
    table = embed.init(jax.random.key(0))
    with pytest.raises(ValueError, match="xs contains 4294967299"):
        embed.apply(table, (), huge)


@pytest.mark.without("jax_enable_x64", reason="the numbers are too large for int32")
@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_the_row_of_a_number_that_is_too_large_is_nan():
    embed = jrnn.Embed(4, 3)
    table = embed.init(jax.random.key(0))
    ids = jnp.array([2**32 - 1, 3], jnp.uint32)  # -1 and 3 in 32 signed bits
    rows = jax.jit(lambda ids: embed.apply(table, (), ids)[1])(ids)
    np.testing.assert_array_equal(jnp.isnan(rows).all(-1), [True, False])


@every_type
def test_ids_and_labels_of_every_type_reach_the_last_symbol(dtype):
    top = min(int(np.iinfo(dtype).max), 300)
    ids = np.array([[0, top]], dtype)
    for vocabulary in (top + 1, top + 2):
        embed = jrnn.Embed(vocabulary, 2)
        params = randomise(shapes(embed), 0)
        logits = randomise(np.zeros((1, 2, vocabulary)), 1)
        expected = np.asarray(params.table)[ids.astype(int)]
        for rows in known_and_traced(
            lambda ids, e=embed, p=params: e.apply(p, (), ids)[1], ids
        ):
            np.testing.assert_array_equal(rows, expected)
        expected = jax.jit(training.cross_entropy)(logits, ids.astype(np.int32))
        for loss in known_and_traced(
            lambda ids, logits=logits: training.cross_entropy(logits, ids), ids
        ):
            np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@every_type
def test_rows_of_ids_that_are_out_of_range_are_nan(dtype):
    top = min(int(np.iinfo(dtype).max), 300)
    outside = np.array([[0, top]], dtype)
    small = jrnn.Embed(top, 2)
    table = randomise(shapes(small), 0)
    rows = jax.jit(lambda ids: small.apply(table, (), ids)[1])
    assert (
        np.isnan(rows(outside)[0, 1]).all() and np.isfinite(rows(outside)[0, 0]).all()
    )


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint32"])
def test_bytes_are_generated_from_bytes(dtype):
    vocabulary = 256 if dtype == "uint8" else 128
    model = jrnn.Sequential(
        jrnn.Embed(vocabulary, 2), jrnn.Recurrent(jrnn.GRU(3)), jrnn.Dense(vocabulary)
    )
    params = randomise(shapes(model), 1, scale=2.0)
    prime = np.full((2, 300), vocabulary - 1)
    lengths = np.array([100, 120])
    options = {"end": vocabulary - 1, "lengths": lengths}
    expected = jrnn.generate(model, params, None, prime, 4, **options)
    options["lengths"] = lengths.astype(dtype)
    actual = jrnn.generate(model, params, None, prime.astype(dtype), 4, **options)
    assert actual[1].dtype == jnp.int32
    assert_close(actual, expected)
    bad = jax.tree.map(lambda a: a * jnp.nan, params)
    run = jax.jit(lambda ids: jrnn.generate(model, bad, None, ids, 2)[1])
    np.testing.assert_array_equal(run(prime.astype(dtype)), -1)
    with pytest.raises(ValueError, match="logits of the model are NaN"):
        jrnn.generate(model, bad, None, prime.astype(dtype), 2)


def test_integer_targets_are_subtracted_in_floating_point():
    ys, targets = (
        jnp.zeros((1, 2, 1), jnp.bfloat16),
        np.array([[[200], [255]]], "uint8"),
    )
    expected = (200.0**2 + 255.0**2) / 2
    assert float(training.squared_error(ys, targets)) == expected
    assert float(training.squared_error(jnp.array(targets), 0 * targets)) == expected
    assert float(training.mean_over_valid(jnp.array([200, 255], jnp.uint8))) == 227.5
    assert float(training.mean_over_valid(jnp.array([True, False]))) == 0.5


@pytest.mark.parametrize("dtype", TYPES)
def test_segments_of_every_type_end_where_ids_change(dtype):
    top = np.iinfo(dtype).max
    ids = np.array([top, top, top - 1, 0, 0], dtype)
    for flags in known_and_traced(jrnn.resets_from_segments, ids):
        assert flags.tolist() == [False, False, True, True, False]
    hashes = np.array([3, 2**32 + 3])  # equal in 32 bits
    assert jrnn.resets_from_segments(hashes).tolist() == [False, True]
    assert jrnn.resets_from_segments([4, 4, 7]).tolist() == [False, False, True]


def test_counts_of_numpy_do_not_wrap():
    hundred = np.uint8(100)
    cell = jrnn.LSTM(hundred)
    assert cell == jrnn.LSTM(100) and repr(cell) == "LSTM(hidden_size=100)"
    assert cell.init(jax.random.key(0), hundred).w_x.shape == (100, 400)
    layer = jrnn.Dense(hundred)
    assert layer.init(jax.random.key(0), np.uint8(200)).w.shape == (200, 100)
    chunks = training.split_into_chunks(
        jnp.arange(500)[None], hundred, overlap=np.uint8(200)
    )
    expected = training.split_into_chunks(jnp.arange(500)[None], 100, overlap=200)
    assert_close(chunks, expected)
    rows = training.stream_to_rows(np.arange(1000, dtype=np.uint16), hundred)
    assert rows[0].shape == (100, 9) and rows[1][-1, -1] == 900
    assert training.TBPTT(hundred, np.uint8(200)).window == (100, 200)
    for bad in (True, 2.0, "4", None):
        with pytest.raises(TypeError, match="must be an integer"):
            jrnn.Dense(bad)
        with pytest.raises(TypeError, match="length must be an integer"):
            training.split_into_chunks(jnp.ones((1, 4)), bad)


def test_a_method_checks_its_options_when_it_is_made():
    for make, message in [
        (lambda: training.TBPTT(4, 2), "k2 must be at least 4"),
        (lambda: training.TBPTT(0), "k1 must be at least 1"),
        (lambda: training.RTRL(every=0), "every must be at least 1"),
        (lambda: training.ARTBP(1.0), "probability must be a probability"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
