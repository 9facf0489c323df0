"""What the importer of PyTorch's weights refuses, and says."""

import jax
import numpy as np
import pytest

import jrnn
from jrnn.interop import torch

H = 4


def weights(**changes):
    """An LSTM's state_dict with some entries changed, or taken out by None."""
    ones = lambda *shape: np.ones(shape, "float32")
    entries = {
        "weight_ih_l0": ones(16, 3),
        "weight_hh_l0": ones(16, 4),
        "bias_ih_l0": ones(16),
        "bias_hh_l0": ones(16),
    } | changes
    return {name: value for name, value in entries.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_hh_l0": None}, "'weight_hh_l0' is missing"),
        ({"bias_hh_l0": None}, "One of bias_ih_l0 and bias_hh_l0"),
        ({"bias_hh_l0": np.ones(12, "float32")}, r"bias_hh_l0 must have shape \[16\]"),
        ({"weight_hh_l0": np.ones((8, 4), "float32")}, "1, 3 or 4 rows for each"),
        ({"weight_hh_l0": np.ones(16, "float32")}, "weight_hh_l0 must be a matrix"),
        ({"weight_hh_l0": np.ones((0, 0), "float32")}, "weight_hh_l0 must be a matrix"),
        ({"weight_ih_l0": np.ones(16, "float32")}, "weight_ih_l0 must be a matrix"),
        ({"weight_ih_l0": np.ones((12, 3), "float32")}, r"weight_ih_l0 must have sh"),
        (
            {"weight_ih_l2": np.ones((16, 4), "float32")},
            "'bias_hh_l2' is missing, but other",
        ),
        ({"head.bias": np.ones(4, "float32")}, r"\['head.bias'\] belong to no"),
        pytest.param(
            {"bias_ih_l0": np.ones(16)},
            "bias_ih_l0 is float64",
            marks=pytest.mark.without("jax_enable_x64", reason="float64 is accepted"),
        ),
    ],
    ids=str,
)
def test_weights_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        torch.from_state_dict(weights(**changes))


def test_integers_are_refused():
    with pytest.raises(TypeError, match="must be floating point, got int64"):
        torch.from_state_dict(weights(bias_ih_l0=np.ones(16, "int64")))


def test_a_prefix_selects_a_module_of_a_model():
    model = {f"rnn.{k}": v for k, v in weights().items()} | {"head": np.ones(2)}
    layer, params = torch.from_state_dict(model, prefix="rnn.")
    assert layer == jrnn.Recurrent(jrnn.LSTM(H, separate_biases=True))
    assert params.w_x.shape == (3, 16)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (jrnn.Recurrent(jrnn.ResetBeforeGRU(H)), "reset gate after"),
        (jrnn.Recurrent(jrnn.GRU(H), reverse=True), "only in reverse"),
        (jrnn.Bidirectional(jrnn.GRU(H), merge="sum"), "concatenates both"),
        (jrnn.Bidirectional(jrnn.GRU(H), jrnn.GRU(5)), "these cells differ"),
        (jrnn.Recurrent(jrnn.LSTM(H, gate=jrnn.activations.tanh)), "another gate"),
        (jrnn.Recurrent(jrnn.Elman(H, jrnn.activations.sigmoid)), "activation of an"),
        (jrnn.Recurrent(jrnn.ProjectedLSTM(H, 5)), "fewer units"),
        (jrnn.Dense(3), "no recurrent layer"),
        (
            jrnn.Sequential(*(jrnn.Recurrent(jrnn.GRU(n)) for n in (4, 5))),
            "these cells differ",
        ),
        (
            jrnn.Sequential(
                jrnn.Bidirectional(jrnn.GRU(H)), jrnn.Recurrent(jrnn.GRU(H))
            ),
            "one-directional on bidirectional",
        ),
    ],
    ids=str,
)
def test_what_pytorch_cannot_compute_is_refused(layer, message):
    params = jax.eval_shape(lambda key: layer.init(key, 3), jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        torch.to_state_dict(layer, params)


def test_a_memory_must_be_given_and_must_fit():
    layer = jrnn.Recurrent(jrnn.LSTM(H))
    h = np.ones((1, 2, H), "float32")
    with pytest.raises(ValueError, match="needs c0"):
        torch.state_from_torch(layer, h)
    with pytest.raises(ValueError, match=r"pass h0\[None\]"):
        torch.state_from_torch(layer, h[0], h[0])
    with pytest.raises(ValueError, match="leave out c0"):
        torch.state_from_torch(jrnn.Recurrent(jrnn.GRU(H)), h, h)


def stack(layers=2, **changes):
    """The weights of a bidirectional GRU of two layers, distinct and not zero."""
    rng = np.random.default_rng(0)
    named = {}
    for layer in range(layers):
        for side in ("", "_reverse"):
            suffix = f"_l{layer}{side}"
            shapes = {"weight_ih": (12, 8 if layer else 3), "weight_hh": (12, 4)}
            shapes |= {"bias_ih": (12,), "bias_hh": (12,)}
            named |= {
                name + suffix: rng.standard_normal(shape).astype("float32")
                for name, shape in shapes.items()
            }
    return {k: v for k, v in (named | changes).items() if v is not None}


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def under(prefix, entries):
    return {prefix + name: value for name, value in entries.items()}


@pytest.mark.parametrize(
    "missing",
    [" ".join(f"{name}_l{layer}_reverse" for name in NAMES) for layer in (0, 1)]
    + [
        "bias_ih_l1 bias_hh_l1 bias_ih_l1_reverse bias_hh_l1_reverse",
        "bias_ih_l0 bias_hh_l0",
        "weight_hh_l1",
    ],
)
def test_layers_that_lack_what_others_have_are_refused(missing):
    with pytest.raises(ValueError, match=r"'\w+' is missing, but other layers"):
        torch.from_state_dict(stack(**dict.fromkeys(missing.split())))


HEAD = {"head.weight": np.ones((2, 8), "float32"), "steps": np.ones(3, "int64")}


@pytest.mark.parametrize(
    "prefix, given",
    [
        ("rnn.", ""),
        ("module.", ""),
        ("encoder.lstm.", ""),
        ("m.", "m."),
        ("m.a.", "m."),
    ],
)
def test_the_only_recurrent_module_of_a_model_is_found(prefix, given):
    expected = torch.from_state_dict(stack())
    found = torch.from_state_dict(under(prefix, stack()) | HEAD, prefix=given)
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])
    assert found[0] == expected[0]
    wrapped = under(f"module.{prefix}", stack()) | under("module.", HEAD)
    found = torch.from_state_dict(wrapped, prefix=prefix)
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])


@pytest.mark.parametrize(
    "entries, prefix, error, why",
    [
        (
            under("a.", stack()) | under("b.", stack()),
            "",
            ValueError,
            r"\['a.', 'b.'\]",
        ),
        (under("a.", stack()), "b.", ValueError, r"'b.'. Their prefixes are \['a.'\]"),
        (HEAD, "", ValueError, "contains no recurrent module"),
        ([1, 2], "", TypeError, "must be a dictionary of arrays by name, got list"),
        (
            {"epoch": 3, "optimizer": {"state": {}}, "model": under("rnn.", stack())},
            "",
            TypeError,
            r"checkpoint with .*checkpoint\['model'\]",
        ),
        (
            {"parametrizations.weight_hh_l0.original": np.ones(2)},
            "",
            ValueError,
            "something other than weight_norm",
        ),
        ({"weight_hh_l0_g": np.ones(2)}, "", ValueError, "its direction and its norm"),
        (stack(weight_hh_l0_g=1.0, weight_hh_l0_v=1.0), "", ValueError, "and itself"),
    ],
)
def test_what_is_no_single_module_says_what_to_pass(entries, prefix, error, why):
    with pytest.raises(error, match=why):
        torch.from_state_dict(entries, prefix=prefix)


def test_a_module_in_place_of_its_weights_says_what_to_pass():
    class Module:
        def state_dict(self):
            return stack()

    with pytest.raises(TypeError, match=r"got Module. Pass `module.state_dict\(\)`"):
        torch.from_state_dict(Module())


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize(
    "names",
    ["{}_g {}_v", "parametrizations.{}.original0 parametrizations.{}.original1"],
)
def test_weight_normalization_is_computed(axis, names):
    entries = stack()
    v = entries.pop("weight_hh_l0")
    size = (12, 4)[axis] if axis is not None else 1
    shape = {0: (12, 1), 1: (1, 4), None: ()}[axis]
    g = np.linspace(0.5, 2, size, dtype="float32").reshape(shape)
    over = None if axis is None else 1 - axis
    w = v * g / np.sqrt((v**2).sum(over, keepdims=axis is not None))
    g_name, v_name = names.format(*["weight_hh_l0"] * 2).split()
    entries |= {g_name: g, v_name: v}
    _, params = torch.from_state_dict(under("rnn.", entries))
    np.testing.assert_allclose(params[0].forward.w_h, w.T, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # the older spelling is deprecated
def test_weight_normalization_is_that_of_pytorch():
    library = pytest.importorskip("torch")
    utils = library.nn.utils
    library.manual_seed(0)
    for normalize in (utils.parametrizations.weight_norm, utils.weight_norm):
        module = normalize(library.nn.LSTM(3, H, batch_first=True), "weight_hh_l0")
        for value in module.parameters():
            value.data += 0.1
        xs = library.randn(2, 5, 3)
        layer, params = torch.from_state_dict(module.state_dict())
        _, ys = layer.apply(params, None, xs.numpy())
        np.testing.assert_allclose(ys, module(xs)[0].detach(), rtol=1e-5, atol=1e-6)


def test_flat_copies_are_compared_and_left_out():
    entries = stack()
    flat = {f"_flat_weights.{i}": value for i, value in enumerate(entries.values())}
    joined = np.concatenate([value.reshape(-1) for value in entries.values()])
    _, expected = torch.from_state_dict(entries)
    for copies in (flat, {"flat_weights": joined}):
        _, params = torch.from_state_dict(under("rnn.", entries | copies))
        jax.tree.map(np.testing.assert_array_equal, params, expected)
    with pytest.raises(ValueError, match="must be a copy of one of the weights"):
        torch.from_state_dict(
            entries | {"_flat_weights.3": flat["_flat_weights.3"] + 1}
        )
