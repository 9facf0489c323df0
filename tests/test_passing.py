"""Every argument reaches every inner layer and cell: none is dropped on its way."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import layers, training
from jrnn.cells import Wrapper
from tests.cases import B, F, H, T, assert_close, randomise, shapes

XS = randomise(np.zeros((B, T, F)), 3, scale=1.0)
LENGTHS = jnp.array([3, T])
MASK = np.arange(B * T).reshape(B, T) % 3 > 0
RESET = np.arange(B * T).reshape(B, T) % 4 == 2
KEY = jax.random.key(5)
SEEN: list[Any] = []  # what spies were given


# ------------------------------------------------------------------------------ layers


@jrnn.value
class Spy:
    """A layer that remembers what it is given, and returns its input."""

    name: str
    over_time: str = "causal"
    output_size = None

    def init(self, key, input_size, dtype=float):
        return f"params of {self.name}"

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros(batch_shape)

    def apply(self, params, state, xs, **flags):
        SEEN.append((self.name, params, state, flags))
        return jnp.ones(xs.shape[:-2]), xs


A, Z = Spy("a"), Spy("z")
EMBED = layers.EmbedParams(jnp.ones((4, F)))
CONTAINERS = {
    "sequential": (jrnn.Sequential(A, Z), ("a", "z"), tuple, XS),
    "bidirectional": (
        jrnn.Bidirectional(A, Z, merge=None),
        ("a", "z"),
        lambda pair: layers.BidirectionalParams(*pair),
        XS,
    ),
    "residual": (jrnn.Residual(A), ("a",), lambda one: one[0], XS),
    "stack": (jrnn.Stack(A, Z, dropout=0.5), ("a", "z"), tuple, XS),
    "stack with skip": (jrnn.Stack(A, Z, skip=True), ("a", "z"), tuple, XS),
    "tied": (
        jrnn.Tied(jrnn.Embed(4, F), A),
        ("a",),
        lambda one: layers.TiedParams(EMBED, one[0], None),
        jnp.ones((B, T), int),
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_layer_gives_each_inner_layer_what_it_gets(name):
    layer, names, build, xs = CONTAINERS[name]
    params = build([f"params of {inner}" for inner in names])
    states = [f"state of {inner}" for inner in names]
    state: Any = states[0] if name in ("residual", "tied") else tuple(states)
    if name == "bidirectional":
        state = layers.BidirectionalState(*states)
    SEEN.clear()
    flags = {"lengths": LENGTHS, "mask": jnp.asarray(MASK), "reset": jnp.asarray(RESET)}
    layer.apply(params, state, xs, key=KEY, **flags)
    assert [inner for inner, *_ in SEEN] == list(names)
    keys = []
    for inner, own, before, given in SEEN:
        assert own == f"params of {inner}" and before == f"state of {inner}"
        for flag, value in flags.items():
            assert given[flag] is not None, f"{flag} does not reach {inner}"
            np.testing.assert_array_equal(given[flag], value)
        keys.append(tuple(jax.random.key_data(given["key"]).tolist()))
    assert len(set(keys)) == len(names), "two layers draw the same noise"
    SEEN.clear()
    layer.apply(params, None, xs)
    for inner, _, before, given in SEEN:
        assert before is None and all(v is None for v in given.values()), inner


def test_an_encoder_and_a_decoder_get_flags_and_keys():
    model = jrnn.EncoderDecoder(Spy("encoder"), Spy("decoder"), bridge=None)
    params = layers.EncoderDecoderParams("params of encoder", "params of decoder", ())
    SEEN.clear()
    target = jnp.ones((B, 4), int)
    options = {"lengths": LENGTHS, "mask": MASK, "target_lengths": jnp.array([1, 4])}
    model.apply(params, XS, target, key=KEY, **options)
    (_, _, _, encoded), (_, _, before, decoded) = SEEN
    np.testing.assert_array_equal(encoded["lengths"], LENGTHS)
    np.testing.assert_array_equal(encoded["mask"], MASK)
    np.testing.assert_array_equal(decoded["lengths"], [1, 4])
    assert before is not None
    keys = [jax.random.key_data(given["key"]).tolist() for given in (encoded, decoded)]
    assert keys[0] != keys[1]


SCANNED = {
    "lengths": {"lengths": LENGTHS},
    "mask": {"mask": MASK},
    "reset": {"reset": RESET},
    "key": {"key": KEY},
    "all": {"lengths": LENGTHS, "mask": MASK, "reset": RESET, "key": KEY},
}


@pytest.mark.parametrize("name", SCANNED)
@pytest.mark.parametrize(
    "options",
    [{}, {"reverse": True}, {"return_sequence": False}, {"at_padding": "hold"}],
    ids=str,
)
def test_a_recurrent_layer_is_a_scan(name, options):
    cell = jrnn.Zoneout(jrnn.GRU(H), 0.3)
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    flags = SCANNED[name]
    actual = jrnn.Recurrent(cell, **options).apply(params, state, XS, **flags)
    expected = jrnn.scan(cell, params, state, XS, **flags, **options)
    assert_close(actual, expected, 0)
    without = jrnn.scan(cell, params, state, XS, **options)
    assert np.any(expected[1] != without[1])
    both = jrnn.Bidirectional(cell)
    if not options:
        pair = layers.BidirectionalParams(params, params)
        states = layers.BidirectionalState(state, state)
        ys = both.apply(pair, states, XS, **flags)[1]
        plain = both.apply(pair, states, XS)[1]
        for side in (ys[..., :H] != plain[..., :H], ys[..., H:] != plain[..., H:]):
            assert np.any(side)


# ------------------------------------------------------------------------------- cells


@jrnn.value
class SpyCell(Wrapper):
    """A cell that remembers which keys it is given."""

    cell: jrnn.Cell

    def prepare(self, params, *, key=None, batch_shape=()):
        SEEN.append(("prepare", key is not None, batch_shape))
        return self.cell.prepare(params, key=key, batch_shape=batch_shape)

    def project(self, params, x, *, key=None):
        SEEN.append(("project", key is not None))
        return self.cell.project(params, x, key=key)


INNER = SpyCell(jrnn.LSTM(F))
WRAPPERS = [
    jrnn.Zoneout(INNER, 0.3),
    jrnn.WeightDrop(INNER, 0.5),
    jrnn.ResidualCell(INNER),
    jrnn.LearnedState(INNER),
    jrnn.LayerNormed(INNER),
    jrnn.MixedPrecision(INNER),
    jrnn.ClipCotangent(INNER, norm=1.0),
    jrnn.ClipState(INNER, bounds=0.5),
    jrnn.CutRecurrentGradient(INNER),
    jrnn.InputDropout(INNER, 0.5),
    jrnn.RecurrentDropout(INNER, 0.5),
    jrnn.Orthogonal(INNER),
    jrnn.Zoneout(jrnn.ResidualCell(jrnn.LayerNormed(INNER)), 0.1),
]


@pytest.mark.parametrize("cell", WRAPPERS, ids=str)
def test_a_wrapper_gives_its_cell_keys_and_the_batch(cell):
    params = cell.init(jax.random.key(0), F)
    for key in (KEY, None):
        SEEN.clear()
        prepared = cell.prepare(params, key=key, batch_shape=(B,))
        assert ("prepare", key is not None, (B,)) in SEEN
        SEEN.clear()
        cell.project(prepared, XS[:, 0], key=key)
        assert ("project", key is not None) in SEEN


def test_a_cell_with_attention_gives_its_cell_keys():
    cell = jrnn.AttentionCell(INNER, memory_size=2, hidden_size=4)
    params = layers.attend_to(cell.init(jax.random.key(0), F), jnp.ones((B, 5, 2)))
    SEEN.clear()
    jrnn.scan(cell, params, None, XS, key=KEY)
    assert ("prepare", True, (B,)) in SEEN and ("project", True) in SEEN


# ------------------------------------------------------ what the suite once let through


def test_a_gradient_is_clipped_as_a_whole():
    gradient = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    for tx in (training.clip_gradients(1.0), training.optimizer(SIGN, clip=1.0)):
        updates, _ = tx.update(gradient, tx.init(gradient))
        assert_close(updates, {"a": jnp.array([0.6]), "b": jnp.array([0.8])}, 1e-6)


SIGN = training.per_layer(training.clip_gradients(1e9))._replace(
    init=lambda params: (), update=lambda updates, state, params=None: (updates, state)
)


def test_the_norm_of_a_cotangent_is_that_of_each_example():
    cell = jrnn.Elman(H, activation=jrnn.activations.identity, bias=False)
    params = randomise(shapes(cell, F), 1)
    state = randomise(cell.initial_state(params, (B,)), 2)
    scale = jnp.array([[1e-3], [10.0]])  # only the second row is clipped

    def slope(state, cell, xs, scale):
        def loss(state):
            return jnp.sum(scale * jrnn.scan(cell, params, state, xs)[1][..., -1, :])

        return jax.grad(loss)(state)

    clipping = jrnn.ClipCotangent(cell, norm=0.1)
    both = slope(state, clipping, XS, scale)
    for row in range(B):
        one = jax.tree.map(lambda a, r=row: a[r], state)
        alone = slope(one, clipping, XS[row], scale[row])
        np.testing.assert_allclose(both.h[row], alone.h, rtol=1e-5)
    free = slope(state, cell, XS, scale)
    np.testing.assert_allclose(both.h[0], free.h[0], rtol=1e-5)
    assert float(jnp.linalg.norm(both.h[1])) < float(jnp.linalg.norm(free.h[1]))


@pytest.mark.parametrize("flags", [{}, {"lengths": LENGTHS}, {"mask": MASK}], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_the_last_output_reads_the_input_of_its_own_step(flags, reverse):
    for cell in (jrnn.ResidualCell(jrnn.GRU(F)), jrnn.LRU(H)):
        params = randomise(shapes(cell, F), 1)
        options = {"reverse": reverse, **flags}
        _, ys = jrnn.scan(cell, params, None, XS, **options)
        _, y = jrnn.scan(cell, params, None, XS, return_sequence=False, **options)
        valid = flags.get(
            "mask", np.arange(T) < np.array(flags.get("lengths", [T, T]))[:, None]
        )
        for row in range(B):
            steps = np.flatnonzero(valid[row])
            assert_close(y[row], ys[row, steps[0 if reverse else -1]])
