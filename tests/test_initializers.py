"""The laws from which parameters are drawn, by their moments and spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import initializers
from tests.cases import CASES, shapes

KEY = jax.random.key(0)
DTYPES = [jnp.float16, jnp.bfloat16, jnp.float32]
CELLS = [jrnn.Elman, jrnn.LSTM, jrnn.GRU, jrnn.ResetBeforeGRU]
SCHEMES = ["jrnn", "torch", "keras", "flax", "nnx", "haiku"]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_every_scheme_draws_in_half_precision(cell, scheme, dtype):
    params = cell(4, scheme=scheme).init(KEY, 3, dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_dtype_that_is_not_of_floats_is_named(case):
    size = case.features if len(case.features) > 1 else case.features[0]
    message = "dtype must be a floating-point dtype, such as `jnp.float32`.*got int32"
    with pytest.raises(TypeError, match=message):
        shapes(case.cell, size, jnp.int32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_orthogonal_gates_each_keep_lengths(dtype):
    w = initializers.orthogonal(KEY, 16, 16, 3, dtype).astype(jnp.float32)
    for gate in jnp.split(w, 3, axis=1):
        tolerance = 1e-5 if dtype == jnp.float32 else 2e-2
        np.testing.assert_allclose(gate.T @ gate, np.eye(16), atol=tolerance)


def test_the_default_lstm_is_orthogonal_gate_by_gate_with_forget_bias_one():
    params = jrnn.LSTM(8).init(KEY, 5)
    for gate in jnp.split(params.w_h, 4, axis=1):
        values = jnp.linalg.svd(gate, compute_uv=False)
        np.testing.assert_allclose(values, 1, atol=1e-5)
    expected = np.repeat([0.0, 1.0, 0.0, 0.0], 8)
    np.testing.assert_array_equal(params.b_x, expected)
    changed = jrnn.LSTM(8, forget_bias=3.0).init(KEY, 5)
    np.testing.assert_array_equal(changed.b_x, 3 * expected)


@pytest.mark.parametrize(
    ("scheme", "forget"), [("torch", None), ("keras", 1), ("flax", 0), ("haiku", 1)]
)
def test_forget_biases_of_the_schemes(scheme, forget):
    bias = jrnn.LSTM(64, scheme=scheme).init(KEY, 3).b_x
    if forget is None:
        assert np.abs(bias).max() <= 1 / 8 and np.std(bias) > 0.06
    else:
        np.testing.assert_array_equal(bias, np.repeat([0, forget, 0, 0], 64))


@pytest.mark.parametrize(
    ("scheme", "gain"), [("jrnn", 1.0), ("keras", 0.5), ("nnx", 0.5), ("torch", 0.577)]
)
def test_the_gain_of_the_state_kernel(scheme, gain):
    w_h = jrnn.LSTM(64, scheme=scheme).init(KEY, 3).w_h
    values = jnp.linalg.svd(w_h[:, :64], compute_uv=False)
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(values**2)), gain, rtol=0.05)


@pytest.mark.parametrize(
    ("cell", "deviation"),
    [
        (jrnn.LSTM, 0.8796 / np.sqrt(400)),  # truncated at two deviations, fan-in F + H
        (jrnn.GRU, 1 / np.sqrt(300)),  # corrected for the truncation, fan-in F
        (jrnn.Elman, 0.8796 / np.sqrt(300)),
    ],
)
def test_haiku_counts_the_fan_in_of_each_cell_its_own_way(cell, deviation):
    w_x = cell(100, scheme="haiku").init(KEY, 300).w_x
    np.testing.assert_allclose(jnp.std(w_x), deviation, rtol=0.02)


def test_glorot_counts_all_gates():
    w_x = jrnn.LSTM(64, scheme="keras").init(KEY, 128).w_x
    bound = np.sqrt(6 / (128 + 256))
    assert 0.99 * bound < np.abs(w_x).max() <= bound


def test_chrono_biases_are_the_log_of_a_uniform_memory():
    bias = initializers.Chrono(longest=100)(KEY, 4000)
    memory = np.exp(bias)
    assert memory.min() >= 1 and memory.max() <= 99
    np.testing.assert_allclose(
        np.quantile(memory, [0.25, 0.75]), [25.5, 74.5], rtol=0.1
    )


def test_uniform_gates_open_uniformly():
    gate = jax.nn.sigmoid(initializers.uniform_gate(KEY, 4000))
    np.testing.assert_allclose(
        np.quantile(gate, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03
    )


def test_identity_blocks():
    w = initializers.identity(KEY, 3, 3, 2, jnp.float32)
    np.testing.assert_array_equal(w, np.hstack([np.eye(3)] * 2))


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="scheme must be one of"):
        jrnn.GRU(4, scheme="tf").init(KEY, 3)
    with pytest.raises(TypeError, match="GRU.bias must be True or False"):
        jrnn.GRU(4, bias="double")
    with pytest.raises(ValueError, match="separate_biases=True, which needs a bias"):
        jrnn.GRU(4, bias=False, separate_biases=True)
    with pytest.raises(ValueError, match="longest must be at least 2"):
        initializers.Chrono(longest=1)
    with pytest.raises(ValueError, match="hidden_size must be at least 1"):
        jrnn.LSTM(0)


@pytest.mark.parametrize("draw", [initializers.Chrono(50), initializers.uniform_gate])
def test_drawn_forget_biases_go_to_the_gates_that_keep_and_negated_to_the_input(draw):
    def parts(cell, gates):
        return jnp.split(cell.init(KEY, 3).b_x, gates)

    keeps = jnp.min if isinstance(draw, initializers.Chrono) else jnp.max
    i, f, g, o = parts(jrnn.LSTM(8, forget_bias=draw), 4)
    assert keeps(f) > 0
    assert jnp.std(f) > 0.1 and not jnp.any(g) and not jnp.any(o)
    np.testing.assert_array_equal(i, -f)
    i, g, o = parts(jrnn.PeepholeLSTM(8, coupled=True, forget_bias=draw), 3)
    assert jnp.std(i) > 0.1 and not jnp.any(g) and not jnp.any(o)
    f, r, g, o = parts(jrnn.RefineGateLSTM(8, forget_bias=draw), 4)
    assert jnp.std(f) > 0.1 and not jnp.any(g)
    np.testing.assert_array_equal(r, -f)
    for cell in (jrnn.GRU, jrnn.ResetBeforeGRU, jrnn.LayerNormGRU):
        r, z, n = parts(cell(8, forget_bias=draw), 3)
        assert jnp.std(z) > 0.1 and not jnp.any(r) and not jnp.any(n)
    for cell in (jrnn.JANET, jrnn.MGU):
        f, n = parts(cell(8, forget_bias=draw), 2)
        assert jnp.std(f) > 0.1 and not jnp.any(n)


def test_a_number_is_the_forget_bias_of_one_gate():
    assert jrnn.GRU(2, forget_bias=3.0).init(KEY, 3).b_x.tolist() == [0, 0, 3, 3, 0, 0]
    assert jrnn.GRU(2).init(KEY, 3).b_x.tolist() == [0] * 6
    refined = jrnn.RefineGateLSTM(2, forget_bias=3.0).init(KEY, 3)
    assert refined.b_x.tolist() == [3, 3, 0, 0, 0, 0, 0, 0]
    coupled = jrnn.PeepholeLSTM(2, coupled=True, forget_bias=3.0).init(KEY, 3)
    assert coupled.b_x.tolist() == [-3, -3, 0, 0, 0, 0]
    image = jrnn.ConvLSTM(2, (2,), (4,)).init(KEY, 3)
    assert image.b_x.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    with pytest.raises(TypeError, match="LSTM.forget_bias must be a number"):
        jrnn.LSTM(4, forget_bias="chrono")


def test_an_irnn_starts_as_the_identity_with_small_inputs():
    params = jrnn.Elman(8, scheme="irnn").init(KEY, 300)
    np.testing.assert_array_equal(params.w_h, np.eye(8))
    np.testing.assert_allclose(jnp.std(params.w_x), 0.001, rtol=0.05)
    assert not jnp.any(params.b_x)


@pytest.mark.parametrize(
    "draw",
    [
        *[s.w_x for s in initializers.SCHEMES.values()],
        initializers.orthogonal,
        initializers.orthogonal_fused,
    ],
    ids=lambda draw: draw.__name__,
)
def test_no_matrix_is_drawn_from_a_seed(draw):
    with pytest.raises(TypeError, match="key must be a key of JAX"):
        draw(7, 3, 3, 2, float)


def test_no_bias_is_drawn_from_a_seed():
    scheme, b = initializers.scheme("torch", "gru"), jnp.zeros(8)
    for draw in (
        lambda: initializers.Chrono(50)(7, 3),
        lambda: initializers.uniform_gate(7, 3),
        lambda: initializers.forget_gate(7, initializers.uniform_gate, b, (1, 0)),
        lambda: initializers.recurrent_weights(7, scheme, 3, 4, 3, float),
        lambda: initializers.biases(7, scheme, 4, 3, float),
    ):
        with pytest.raises(TypeError, match="key must be a key of JAX"):
            draw()


@pytest.mark.parametrize("seed", [0, None], ids=str)
def test_no_cell_draws_from_a_seed(seed):
    for case in CASES:
        size = case.features if len(case.features) > 1 else case.features[0]
        with pytest.raises(TypeError, match="key must be a key of JAX"):
            case.cell.init(seed, size)
