"""How layers depend on time: what may follow what, and layers without a time axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from jrnn import training
from jrnn.layers import over_time
from tests.cases import B, F, H, T, assert_close, randomise, shapes
from tests.test_layer_laws import CAUSAL, LAYERS

XS = randomise(np.zeros((B, T, F)), 3, scale=1.0)
LENGTHS = jnp.array([3, T])
LAST = jrnn.Recurrent(jrnn.GRU(H), return_sequence=False)
PAIR = jrnn.Bidirectional(jrnn.GRU(H), merge=None)
BOTH = jrnn.Bidirectional(jrnn.GRU(H))


def drawn(layer, size=F):
    return randomise(shapes(layer, size), 1)


def doubled(x):
    return 2 * x


def centered(x):
    return x - jnp.mean(x, (0, 1))


def as_image(x):
    return x.reshape(3, 5, 1)


CONV = jrnn.ConvLSTM(F, (3, 3), (3, 5), padding="same")
FRAME = jrnn.Map(doubled, feature_axes=3)


# ------------------------------------------------------------------- what a layer says


@pytest.mark.parametrize("name", LAYERS)
def test_layers_say_how_their_outputs_depend_on_time(name):
    """The Jacobian of the outputs with respect to the inputs, step by step."""
    layer = LAYERS[name]
    params = drawn(layer)
    run = lambda xs: layer.apply(params, None, xs)[1]
    slope = jax.jit(jax.jacobian(run))(np.asarray(XS)[0])
    reach = np.any(np.asarray(slope) != 0, axis=(1, 3))  # [T of outputs, T of inputs]
    assert np.all(np.diag(reach))
    later, earlier = bool(np.triu(reach, 1).any()), bool(np.tril(reach, -1).any())
    if layer.over_time == "pointwise":
        assert not later and not earlier
    elif layer.over_time == "causal":
        assert not later and earlier and name in CAUSAL
    else:
        assert layer.over_time == "sequence" and later


def test_what_returns_one_output_has_no_time_axis():
    both = jrnn.Bidirectional(LAST)
    for layer in (LAST, both, jrnn.Sequential(jrnn.Dense(4), LAST, jrnn.LayerNorm())):
        assert layer.over_time == "reduce"
        assert layer.apply(drawn(layer), None, XS)[1].ndim == 2
    assert jrnn.Tied(jrnn.Embed(5, 2 * H), BOTH).over_time == "sequence"
    for layer in (LAST, BOTH, PAIR):
        assert jrnn.Sequential(jrnn.Dense(2), layer).over_time == layer.over_time


# ------------------------------------------------------------- what cannot follow what


@pytest.mark.parametrize("make", [jrnn.Sequential, jrnn.Stack], ids=["seq", "stack"])
@pytest.mark.parametrize(
    "above",
    [
        jrnn.Recurrent(jrnn.LSTM(2)),
        jrnn.Bidirectional(jrnn.LSTM(2)),
        jrnn.Residual(jrnn.Recurrent(jrnn.GRU(H))),
        jrnn.Sequential(jrnn.Dense(3), jrnn.Recurrent(jrnn.GRU(2))),
        jrnn.Stack(jrnn.GRU(2)),
        LAST,
    ],
    ids=str,
)
def test_no_recurrent_layer_follows_one_output(make, above):
    below = jrnn.Sequential(LAST, jrnn.Dense(H))
    with pytest.raises(ValueError, match=r"Layer 2 of .* needs a time axis, but Seq"):
        make(below, jrnn.LayerNorm(), above)


@pytest.mark.parametrize(
    "above", [jrnn.Dense(2), jrnn.LayerNorm(), jrnn.Dropout(0.5), jrnn.Map(doubled)]
)
def test_no_pointwise_layer_takes_a_pair(above):
    for below in (PAIR, jrnn.Sequential(jrnn.Dense(2), PAIR), jrnn.Stack(PAIR)):
        with pytest.raises(ValueError, match="merge='concat'"):
            jrnn.Sequential(below, above)
    with pytest.raises(TypeError, match=r"xs must be one array, got tuple of"):
        above.apply(drawn(above), (), (XS, XS))


def test_a_pair_has_no_residual_and_no_logits():
    for make in (jrnn.Residual, lambda body: jrnn.Tied(jrnn.Embed(5, H), body)):
        with pytest.raises(ValueError, match=r"(Res|Tied).* needs one array, but Bid"):
            make(PAIR)


def test_a_cell_that_takes_a_pair_may_follow_one():
    @jrnn.value
    class Sum(jrnn.cells.Wrapper):
        cell: jrnn.Cell

        def project(self, params, x, *, key=None):
            return self.cell.project(params, x[0] + x[1], key=key)

    above = jrnn.Recurrent(Sum(jrnn.GRU(5)))
    model = jrnn.Sequential(PAIR, above)
    params = drawn(model)
    _, (a, b) = PAIR.apply(params[0], None, XS, lengths=LENGTHS)
    expected = jrnn.scan(jrnn.GRU(5), params[1], None, a + b, lengths=LENGTHS)[1]
    assert_close(model.apply(params, None, XS, lengths=LENGTHS)[1], expected)
    with pytest.raises(TypeError, match="xs must be one array, got tuple of"):
        jrnn.Recurrent(jrnn.GRU(5)).apply(params[1], None, (XS, XS))


def test_what_merges_or_adds_outputs_needs_outputs_alike():
    forward = jrnn.Recurrent(jrnn.GRU(H))
    backward = jrnn.Recurrent(jrnn.GRU(H), reverse=True, return_sequence=False)
    with pytest.raises(ValueError, match="only one returns a sequence"):
        jrnn.Bidirectional(forward, backward)
    pair = jrnn.Bidirectional(forward, backward, merge=None)
    _, (a, b) = pair.apply(drawn(pair), None, XS)
    assert a.shape == (B, T, H) and b.shape == (B, H)
    with pytest.raises(ValueError, match="one output per step"):
        jrnn.Stack(LAST, jrnn.Dense(2), skip=True)


# --------------------------------------------------------- layers without a time axis


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
def test_what_follows_one_output_is_applied_to_each_row():
    head = jrnn.Sequential(
        jrnn.LayerNorm(), jrnn.Dense(5), jrnn.Residual(jrnn.Map(doubled)), jrnn.Dense(2)
    )
    for model in (
        jrnn.Sequential(LAST, *head.layers),
        jrnn.Stack(LAST, *head.layers),
        jrnn.Sequential(LAST, head),
    ):
        params = drawn(model)
        mask = jnp.arange(T) < LENGTHS[:, None]
        xs = jnp.where(mask[..., None], XS, jnp.nan)
        _, ys = model.apply(
            params, None, xs, lengths=LENGTHS, reset=jnp.zeros_like(mask)
        )
        masked = model.apply(params, None, xs, mask=mask)[1]
        assert ys.shape == (B, 2)
        for row, size in enumerate(LENGTHS):
            alone = model.apply(params, None, XS[row, :size])[1]
            assert_close(ys[row], alone)
            assert_close(masked[row], alone)


@pytest.mark.parametrize("batch", [(), (50,), (2, 25)])
def test_locked_dropout_has_a_mask_for_each_row(batch):
    """Without a time axis a mask is locked to its row, and rows differ."""
    drop = jrnn.Dropout(0.5, locked=True)
    model = jrnn.Sequential(jrnn.Map(ones_of_step), LAST_ONES, drop)
    params = model.init(jax.random.key(0), 40)
    xs = jnp.zeros((*batch, T, 40))
    ys = model.apply(params, None, xs, key=jax.random.key(1))[1]
    assert ys.shape == (*batch, 40)
    rows = np.array(ys).reshape(-1, 40)
    assert set(np.unique(rows)) == {0.0, 2.0}
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert drop.apply((), (), jnp.ones(16), key=jax.random.key(0))[1].shape == (16,)
    stack = jrnn.Stack(LAST_ONES, jrnn.Map(doubled), dropout=0.5, locked=True)
    rows = stack.apply(((), ()), None, xs[..., :8] + 1, key=jax.random.key(1))[1]
    rows = np.array(rows).reshape(-1, 8)
    assert rows.shape[0] == 1 or len(np.unique(rows, axis=0)) > 1


def ones_of_step(x):
    return jnp.ones_like(x)


@jrnn.value
class Last:
    """Returns the last step: a layer of a user."""

    output_size = None
    over_time = "reduce"

    def init(self, key, input_size, dtype=float):
        return ()

    def initial_state(self, params, batch_shape=()):
        return ()

    def apply(self, params, state, xs, **flags):
        return (), xs[..., -1, :]


LAST_ONES = Last()


def test_locked_dropout_of_images_is_locked_over_time():
    drop = jrnn.Dropout(0.5, locked=True, feature_axes=3)
    images = jnp.ones((2, 4, 3, 5, 6))
    ys = np.array(drop.apply((), (), images, key=jax.random.key(0))[1])
    assert np.all(ys == ys[:, :1])
    assert np.any(ys[:, :, :1] != ys) and np.any(ys[:, :, :, :1] != ys)
    assert np.any(ys[0] != ys[1])
    for above in (FRAME, jrnn.Residual(FRAME), jrnn.Sequential(FRAME)):
        stack = jrnn.Stack(FRAME, above, dropout=0.5, locked=True)
        params = stack.init(jax.random.key(0), 6)
        ys = np.array(stack.apply(params, None, images, key=jax.random.key(0))[1])
        assert np.all(ys == ys[:, :1])
        assert np.any(ys[:, :, :1] != ys) and np.any(ys[:, :, :, :1] != ys)


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (jrnn.Dense(3), 1),
        (jrnn.Bidirectional(CONV), 3),
        (jrnn.Residual(jrnn.Recurrent(CONV)), 3),
        (jrnn.Sequential(jrnn.Dropout(0.1), jrnn.LayerNorm(), FRAME), 3),
        (jrnn.Sequential(jrnn.Dense(15), jrnn.Map(as_image), FRAME), 1),
    ],
    ids=str,
)
def test_a_layer_has_the_feature_axes_of_its_input(layer, axes):
    assert over_time.feature_axes(layer) == axes


@pytest.mark.parametrize("wrap", [jrnn.Sequential, jrnn.Residual, jrnn.Stack])
def test_a_layer_of_images_follows_one_output(wrap):
    center = jrnn.Map(centered, feature_axes=3)
    last = jrnn.Recurrent(CONV, return_sequence=False)
    model = jrnn.Sequential(last, wrap(center))
    params = drawn(model)
    images = randomise(np.zeros((B, T, 3, 5, F)), 1)
    image = last.apply(params[0], None, images)[1]
    expected = image - jnp.mean(image, (1, 2), keepdims=True)
    expected = expected + image if wrap is jrnn.Residual else expected
    assert_close(model.apply(params, None, images)[1], expected)


@pytest.mark.without("jax_debug_nans", reason="it makes NaN on purpose")
@pytest.mark.parametrize("layer", [jrnn.LayerNorm(), jrnn.Dense(2)], ids=str)
def test_padding_of_images_reaches_no_gradient(layer):
    images = randomise(np.zeros((B, T, 3, 5, F)), 1)
    inside = (jnp.arange(T) < LENGTHS[:, None])[..., None, None, None]

    def loss(params, xs):
        ys = layer.apply(params, (), xs, lengths=LENGTHS)[1]
        return jnp.sum(jnp.where(inside, jnp.sin(ys), 0))

    slope, params = jax.jit(jax.grad(loss)), drawn(layer)
    clean = slope(params, np.where(inside, images, 0))
    assert_close(slope(params, np.where(inside, images, np.nan)), clean)


def test_flags_without_a_time_axis_are_an_error():
    dense = jrnn.Dense(2)
    for flags in ({"lengths": LENGTHS}, {"mask": jnp.ones((B, T), bool)}):
        with pytest.raises(ValueError, match="leave both out"):
            dense.apply(drawn(dense), (), XS[:, 0], **flags)


# ------------------------------------------------------------------------- generation


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (BOTH, r"which Bidirectional\(.* later steps"),
        (jrnn.Recurrent(jrnn.GRU(H), reverse=True), "reverse=True.* later steps"),
        (jrnn.Stack(jrnn.GRU(H), BOTH), r"which Bidirectional\(.* later steps"),
        (LAST, "one output for a whole sequence"),
    ],
    ids=str,
)
def test_a_model_that_sees_the_future_generates_nothing(inner, message):
    model = jrnn.Sequential(jrnn.Embed(5, 3), inner, jrnn.Dense(5))
    params = model.init(jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        jrnn.generate(model, params, None, jnp.array([[1, 2]]), 3)
    with pytest.raises(ValueError, match=message):
        jrnn.beam_search(model, params, None, jnp.array([[1, 2]]), 3)
    with pytest.raises(ValueError, match=message):
        jrnn.EncoderDecoder(encoder=model, decoder=model)
    with pytest.raises(ValueError, match=message):
        training.TBPTT(2).rewrite(model, params, None)
