"""Training runs recorded from PyTorch: truncated BPTT, clipping and an optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from jrnn import training
from jrnn.interop import torch
from tests.conformance import recorded


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
    with jax.enable_x64(True):
        model, params = build(case.weights)
        tokens = case.inputs["tokens"].T
        chunks = training.split_into_chunks(
            (tokens[:, :-1], tokens[:, 1:]), config["chunk"]
        )

        def loss(params, state, chunk, key):
            inputs, targets = chunk.data
            state, logits = model.apply(params, state, inputs)
            return training.cross_entropy(logits, targets), state

        kind = {"sgd": optax.sgd, "adam": optax.adam}[config["optimizer"]]
        tx = training.optimizer(kind(config["lr"]), clip=config["clip_norm"])
        train = jax.jit(training.train_on_chunks(loss, tx))
        start = model.initial_state(params, (config["B"],))
        opt_state, losses = tx.init(params), []
        for _ in range(config["epochs"]):
            params, opt_state, _, some = train(params, opt_state, start, chunks)
            losses.append(some)
        embed, cell, head = params
        final = {
            f"rnn.{k}": v for k, v in torch.to_state_dict(model.layers[1], cell).items()
        }
        final |= {"emb.weight": embed.table, "lin.weight": head.w.T, "lin.bias": head.b}
    recorded.close(case, "losses", np.concatenate(losses), case.outputs["losses"])
    for name, value in final.items():
        recorded.close(case, name, value, case.outputs[f"final/{name}"])
