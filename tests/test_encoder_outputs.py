"""What an encoder-decoder does with padded targets, and with what encoders return."""

import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from tests.cases import assert_close
from tests.test_encoder_decoder import (
    LENGTHS,
    LUONG,
    MODELS,
    SOURCE,
    TARGET,
    B,
    M,
    T,
    V,
    drawn,
    model,
    value_and_grad,
)


def test_feedback_does_not_read_the_padding_of_a_target():
    """It equals teacher forcing in values and gradients, whatever the padding holds."""
    model, lengths = MODELS["dense"], np.array([4, 1], np.uint8)
    padded = TARGET.at[1, 1:].set(-1)
    given = {"lengths": LENGTHS, "target_lengths": lengths}
    valid = (np.arange(T) < lengths[:, None])[..., None]

    def logits(params, teacher_forcing):
        found = model.apply(
            params, SOURCE, padded, **given, teacher_forcing=teacher_forcing
        )
        return jnp.where(valid, found, 0)

    at_once = value_and_grad(lambda p: logits(p, 1.0), drawn(model))
    fed_back = value_and_grad(lambda p: logits(p, jnp.ones(())), drawn(model))
    assert_close(fed_back, at_once, 1e-5)


@pytest.mark.parametrize("bridge", ["copy", "dense", None])
def test_an_encoder_may_return_one_output_or_a_pair(bridge):
    """Without attention, only its final state counts."""
    decoder = (jrnn.Recurrent(jrnn.GRU(M)),)
    encoder = jrnn.Recurrent(jrnn.GRU(M), return_sequence=False)
    whole, last = model(decoder, bridge), model(decoder, bridge, encoder)
    params = drawn(whole)
    expected = whole.apply(params, SOURCE, TARGET, lengths=LENGTHS)
    assert_close(last.apply(params, SOURCE, TARGET, lengths=LENGTHS), expected, 0)
    pair = model(decoder, None, jrnn.Bidirectional(jrnn.GRU(M), merge=None))
    assert pair.apply(drawn(pair), SOURCE, TARGET).shape == (B, T, V)


def test_a_batch_may_have_no_examples():
    model = MODELS["dense"]
    params, none = drawn(model), SOURCE[:0]
    assert model.apply(params, none, TARGET[:0]).shape == (0, T, V)
    assert model.generate(params, none, 3).shape == (0, 3)
    found = model.beam_search(params, none, 3, beams=2)
    assert found.tokens.shape == (0, 2, 3) and found.scores.shape == (0, 2)


@pytest.mark.parametrize("teacher_forcing", [0.0, 1.0])
def test_a_target_without_steps_has_no_logits(teacher_forcing):
    model = MODELS["copy"]
    ys = model.apply(
        drawn(model), SOURCE, TARGET[:, :0], teacher_forcing=teacher_forcing
    )
    assert ys.shape == (B, 0, V)


@pytest.mark.parametrize(
    "encoder",
    [
        jrnn.Bidirectional(jrnn.GRU(M), merge=None),
        jrnn.Bidirectional(jrnn.Recurrent(jrnn.GRU(M), return_sequence=False)),
    ],
)
def test_attention_needs_one_array_of_outputs(encoder):
    wrong = model(LUONG, None, encoder)
    with pytest.raises(ValueError, match=r"one array of outputs.*return_sequence=True"):
        wrong.apply(drawn(wrong), SOURCE, TARGET)
