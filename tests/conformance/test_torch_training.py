"""Training runs recorded from PyTorch: truncated BPTT, clipping and an optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from jrnn import training
from jrnn.interop import torch
from tests.conformance import recorded

# PyTorch and optax agree on these where no further option is named.
OPTIMIZERS = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": lambda rate: optax.adamw(rate, weight_decay=0.01),
    "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.99, eps_in_sqrt=False),
}


def build(weights):
    """Returns the model of the recorded run, and its parameters."""
    rnn, params = torch.from_state_dict(weights, prefix="rnn.")
    table, kernel = (jnp.asarray(weights[k]) for k in ("emb.weight", "lin.weight"))
    symbols, size = table.shape
    model = jrnn.Sequential(jrnn.Embed(symbols, size), rnn, jrnn.Dense(symbols))
    head = jrnn.layers.DenseParams(kernel.T, jnp.asarray(weights["lin.bias"]))
    return model, (jrnn.layers.EmbedParams(table), params, head)


@recorded.every("torch_training")
def test_a_training_run_of_pytorch_is_repeated(path):
    case = recorded.load(path)
    config = case.config
    sizes = "E V kind"
    recorded.honors(case, f"{sizes} chunk optimizer lr clip_norm epochs", "tokens")
    with jax.enable_x64(True):
        model, params = build(case.weights)
        tokens = case.inputs["tokens"].T
        chunks = training.split_into_chunks(
            (tokens[:, :-1], tokens[:, 1:]), config["chunk"]
        )

        def loss(params, state, chunk, key):
            inputs, targets = chunk.data
            state, logits = model.apply(params, state, inputs, mask=chunk.mask)
            return training.cross_entropy(logits, targets, chunk.mask), state

        kind = OPTIMIZERS[config["optimizer"]]
        tx = training.optimizer(kind(config["lr"]), clip=config["clip_norm"])
        train = jax.jit(training.train_on_chunks(loss, tx))
        start = model.initial_state(params, (config["B"],))
        opt_state, losses, norms = tx.init(params), [], []
        for _ in range(config["epochs"]):
            state = start
            for number in range(chunks.mask.shape[0]):  # one at a time, for the norms
                one = jax.tree.map(lambda a, n=number: a[n : n + 1], chunks)
                params, opt_state, state, some = train(params, opt_state, state, one)
                losses.append(some)
                norms.append(opt_state.inner[0].norm)
        embed, cell, head = params
        final = {
            f"rnn.{k}": v for k, v in torch.to_state_dict(model.layers[1], cell).items()
        }
        final |= {"emb.weight": embed.table, "lin.weight": head.w.T, "lin.bias": head.b}
    found = {"losses": np.concatenate(losses), "grad_norms": np.array(norms)}
    found |= {f"final/{name}": value for name, value in final.items()}
    assert set(found) == set(case.outputs)
    for name, value in found.items():
        if name == "grad_norms":  # reported in float32
            np.testing.assert_allclose(value, case.outputs[name], rtol=1e-6)
        else:
            recorded.close(case, name, value, case.outputs[name])
