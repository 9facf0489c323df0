"""Padded, packed and bucketed sequences are computed as if each was alone."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn.sequences import batches, bucket_lengths, pack, pad, unpack
from jrnn.testing import randomize
from tests.cases import shapes

LENGTHS = [3, 7, 1, 5, 2, 4, 7]
rng = np.random.default_rng(0)
RAGGED = [rng.normal(size=(length, 3)).astype(np.float32) for length in LENGTHS]


def test_padding_restores_each_sequence():
    xs, lengths = pad(RAGGED, length=9, rows=8, value=np.nan)
    assert xs.shape == (8, 9, 3) and xs.dtype == np.float32
    assert lengths.tolist() == [*LENGTHS, 0] and lengths.dtype == np.int32
    for row, length, sequence in zip(xs, lengths, RAGGED, strict=False):
        np.testing.assert_array_equal(row[:length], sequence)
        assert np.isnan(row[length:]).all()
    assert np.isnan(xs[-1]).all()


def test_trees_are_padded_and_packed_together():
    pairs = [{"x": x, "target": np.arange(len(x))} for x in RAGGED]
    padded, _ = pad(pairs)
    assert padded["target"][1].tolist() == list(range(7))
    packed = pack(pairs, length=8)
    for pair, again in zip(pairs, unpack(packed.xs, packed.segment_ids), strict=True):
        jax.tree.map(np.testing.assert_array_equal, pair, again)


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_list_is_a_sequence_without_steps(empty):
    others = [([[1, 2], [3, 4]], np.ones(2, "f4")), ([[5, 6]], np.ones(1, "f4"))]
    others.insert(empty, ([], []))
    (xs, targets), lengths = pad(others)
    assert xs.dtype == int and xs.shape == (3, 2, 2) and lengths[empty] == 0
    assert targets.dtype == np.float32 and not xs[empty].any()
    assert pad([[], []])[0].shape == (2, 0)
    with pytest.raises(ValueError, match="has no steps"):
        pack([[1], []], 5)


@pytest.mark.parametrize(
    "layer",
    [
        jrnn.Recurrent(jrnn.LSTM(4)),
        jrnn.Recurrent(jrnn.GRU(4), reverse=True, method="scan"),
        jrnn.Bidirectional(jrnn.LRU(4)),
        jrnn.Sequential(jrnn.Bidirectional(jrnn.GRU(4)), jrnn.Recurrent(jrnn.MGU(5))),
    ],
    ids=["forward", "reverse", "linear", "stack"],
)
def test_packed_sequences_are_computed_as_if_alone(layer):
    params = randomize(shapes(layer, 3), 1)
    packed = pack(RAGGED, length=8)
    padded, lengths = pad(RAGGED)
    assert packed.mask.sum() == sum(LENGTHS)
    assert len(packed.xs) < len(RAGGED)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def slope(params, xs, flags):
        ys = layer.apply(params, None, xs, **flags)[1]
        return jnp.sum(jnp.sin(ys)), ys

    flags = {"mask": packed.mask, "reset": packed.reset}
    actual, ys = slope(params, packed.xs, flags)
    expected, alone = slope(params, padded, {"lengths": lengths})
    ys = unpack(ys, packed.segment_ids)
    for y, row, length in zip(ys, alone, LENGTHS, strict=True):
        np.testing.assert_allclose(y, row[:length], atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), actual, expected
    )


@pytest.mark.parametrize("rows", [0, 3])
def test_rows_without_sequences_hold_none(rows):
    ids = np.full((rows, 4), -1)
    assert unpack({"a": np.ones((rows, 4, 2))}, ids) == []
    ids[rows - 1 : rows, 2] = 0
    found = unpack(np.arange(rows * 4).reshape(rows, 4), ids)
    assert [each.tolist() for each in found] == ([[10]] if rows else [])


def test_rows_are_filled_well_and_in_place():
    lengths = rng.integers(1, 20, 200)
    packed = pack([np.full(n, i) for i, n in enumerate(lengths)], length=32)
    np.testing.assert_array_equal(
        packed.xs[packed.mask], packed.segment_ids[packed.mask]
    )
    assert packed.fullness == lengths.sum() / packed.mask.size > 0.97
    reset = jrnn.resets_from_segments(jnp.asarray(packed.segment_ids))
    np.testing.assert_array_equal(packed.reset, reset & packed.mask)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 9])
def test_buckets_waste_the_fewest_steps(number):
    lengths = rng.integers(1, 30, 12)

    def waste(buckets):
        return sum(min(b for b in buckets if b >= n) - n for n in lengths)

    sizes = sorted(set(lengths.tolist()))
    choices = itertools.combinations(sizes[:-1], min(number, len(sizes)) - 1)
    best = min(waste((*choice, sizes[-1])) for choice in choices)
    found = bucket_lengths(lengths, number)
    assert waste(found) == best and len(found) <= number


def test_batches_hold_each_sequence_once_in_few_shapes():
    lengths = rng.integers(1, 50, 101)
    made = batches(lengths, 8, buckets=3, seed=1)
    indices = np.concatenate([batch.indices for batch in made])
    assert sorted(indices.tolist()) == list(range(101))
    assert len({batch.length for batch in made}) == 3
    for batch in made:
        assert len(batch.indices) <= 8
        assert lengths[batch.indices].max() <= batch.length
    again = batches(lengths, 8, buckets=np.int64(3), seed=1)
    jax.tree.map(np.testing.assert_array_equal, made, again)
    other = np.concatenate([batch.indices for batch in batches(lengths, 8, seed=2)])
    assert indices.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pad([]), ValueError, "at least one sequence"),
        (lambda: pad(RAGGED, length=6), ValueError, r"sequences\[1\] has 7 steps"),
        (lambda: pad(RAGGED, rows=6), ValueError, "number of sequences, 7, got 6"),
        (lambda: pad([[1, 2], [[3]]]), ValueError, r"sequences\[1\] must be \[time"),
        (lambda: pad([[1, 2], [0.5]]), TypeError, "is float64, but .* is int64"),
        (lambda: pad([1, 2]), ValueError, r"sequences\[0\]"),
        (lambda: pad([[], 2]), ValueError, r"sequences\[1\]"),
        (lambda: pad([(), ()]), ValueError, "at least one sequence"),
        (lambda: pad([[1], np.zeros(0)]), TypeError, "is float64, but .* is int64"),
        (lambda: pad([{"a": [1]}, [1]]), TypeError, "must be the same"),
        (lambda: pad([([1], [1, 2])]), ValueError, "share their time axis"),
        (lambda: pack([[1], np.zeros(0, int)], 5), ValueError, r"\[1\] has no steps"),
        (lambda: pack(RAGGED, 7.5), TypeError, "length must be an integer"),
        (lambda: pad(RAGGED, rows=7.5), TypeError, "rows must be an integer"),
        (lambda: batches([], 2), ValueError, "number of lengths"),
        (lambda: batches([3], 2, buckets=[]), ValueError, "number of buckets"),
        (lambda: batches([2.7], 2), TypeError, "lengths must be integers"),
        (lambda: batches([5, -3], 2), ValueError, r"lengths\[1\] .* 0, got -3"),
        (lambda: bucket_lengths([-3], 2), ValueError, r"lengths\[0\] .* 0, got -3"),
        (lambda: batches([3], 2, buckets=[-1, 4]), ValueError, r"buckets\[0\] .* -1"),
        (lambda: batches([3], 2, buckets=0), ValueError, "buckets must be at least 1"),
        (lambda: batches([[3, 5]], 2), ValueError, r"lengths .* one axis.* \[1, 2\]"),
        (lambda: pack(RAGGED, 5), ValueError, r"length is 5, but sequences\[1\] has 7"),
        (lambda: batches([3, 9], 2, buckets=[4]), ValueError, r"lengths\[1\] is 9"),
        (
            lambda: unpack(np.ones((4, 3)), np.zeros(4, int)),
            ValueError,
            r"segment_ids must be \[rows, length\], got \[4\]",
        ),
        (
            lambda: unpack({"y": np.ones((4, 2, 3))}, np.zeros((2, 4), int)),
            ValueError,
            r"ys\['y'\] must .* \[2, 4, ...\] .* got \[4, 2, 3\]",
        ),
        (lambda: bucket_lengths([], 2), ValueError, "number of lengths"),
        (lambda: bucket_lengths([1], 0), ValueError, "number must be at least 1"),
    ],
)
def test_what_does_not_fit_is_an_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("value", [1j, None, "0"])
@pytest.mark.parametrize("dtype", ["float32", jnp.bfloat16])
def test_a_value_that_is_no_real_number_is_refused(value, dtype):
    with pytest.raises(TypeError, match=f"value is {value!r}, which sequences of .*f"):
        pad([np.zeros(2, dtype)], length=3, value=value)
    assert pad([np.zeros(2, dtype)], length=3, value=jnp.bfloat16(2))[0][0, 2] == 2
    assert pad([np.zeros(2, complex)], length=3, value=1j)[0][0, 2] == 1j


@pytest.mark.parametrize("value", [0.5, np.nan, -1, 300])
def test_a_value_that_would_be_truncated_is_refused(value):
    sequences = [np.array([1, 2], np.uint8), np.array([3], np.uint8)]
    with pytest.raises(TypeError, match="which sequences of uint8 cannot represent"):
        jrnn.sequences.pad(sequences, value=value)
    assert jrnn.sequences.pad(sequences, value=200)[0].tolist() == [[1, 2], [3, 200]]
    xs, _ = jrnn.sequences.pad([[1.0, 2.0], [3.0]], value=value)
    np.testing.assert_equal(xs[1, 1], value)
