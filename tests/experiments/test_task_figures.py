"""Generated examples, losses and figures of tasks, against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.experiments.tiny import tiny


@pytest.mark.parametrize("name", ["adding", "copy", "parity"])
def test_generated_examples_have_the_targets_of_their_definition(name, tmp_path):
    task, options = tiny(name, tmp_path)
    keys = jax.random.split(jax.random.key(1), 20)
    inputs, targets = jax.vmap(lambda key: task.example(options, key))(keys)
    for x, target in zip(np.asarray(inputs), np.asarray(targets), strict=True):
        if name == "adding":
            assert x[:3, 1].sum() == x[3:, 1].sum() == 1 and len(x) == 6
            assert target == pytest.approx(x[x[:, 1] == 1, 0].sum())
        elif name == "parity":
            assert target.tolist() == [sum(x[: t + 1]) % 2 for t in range(5)]
        else:
            assert x.tolist() == [*x[:10], 8, 8, 9, *10 * [8]] and max(x[:10]) < 8
            assert target.tolist() == [*13 * [8], *x[:10]]


@pytest.mark.parametrize("name", ["adding", "copy", "parity"])
def test_the_loss_and_the_figures_of_generated_examples(name, tmp_path):
    task, options = tiny(name, tmp_path)
    rng, rows = np.random.default_rng(0), 3
    if name == "adding":
        outputs, targets = rng.normal(size=(rows, 1)), rng.normal(size=rows)
        loss = (outputs[:, 0] - targets) ** 2
        expected = {"squared_error": loss}
    else:
        steps, classes = {"copy": (23, 9), "parity": (9, 2)}[name]
        outputs = rng.normal(size=(rows, steps, classes))
        targets = rng.integers(0, classes, (rows, steps))
        chosen = np.take_along_axis(outputs, targets[..., None], -1)[..., 0]
        loss = np.mean(np.log(np.exp(outputs).sum(-1)) - chosen, -1)
        right = outputs.argmax(-1) == targets
        if name == "copy":
            expected = {"nats": loss, "right": right[:, 13:].mean(-1)}
        else:
            expected = {"accuracy": right[:, -3:].mean(-1)}
    outputs, targets = jnp.asarray(outputs, jnp.float32), jnp.asarray(targets)
    np.testing.assert_allclose(task.errors(outputs, targets), loss, rtol=1e-5)
    found = task.figures(options, outputs, targets)
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5)


def test_the_score_of_chorales_is_the_negative_log_likelihood_of_all_notes(tmp_path):
    task, options = tiny("chorales", tmp_path)
    data = task.load(options)
    model = task.model(options, data.saved)
    params = task.init(model, jax.random.key(0))
    total, count = 0.0, 0
    for notes, length in zip(*data.held_out, strict=True):
        before = jnp.asarray(notes[: length - 1])
        given = jnp.concatenate([jnp.zeros((1, 88), before.dtype), before])
        logits = np.asarray(model.apply(params, None, given[None])[1][0], np.float64)
        p = 1 / (1 + np.exp(-logits))
        total -= np.log(np.where(notes[:length] == 1, p, 1 - p)).sum()
        count += length
    found = task.score(options, model, params, data, lambda fraction: None)
    assert found.figures["held_out_nats"] == pytest.approx(total / count, rel=1e-5)
    rates = np.concatenate([a[:n] for a, n in zip(*data.arrays, strict=True)]).mean(0)
    steps = np.concatenate([a[:n] for a, n in zip(*data.held_out, strict=True)])
    nats = -np.log(np.where(steps == 1, rates, 1 - rates)).sum(-1).mean()
    assert data.about["baseline"].startswith(f"{nats:.3f} nats")
