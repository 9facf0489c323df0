"""The model: from characters to logits of the next character."""

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.char_lm.config import Sample, Train
from experiments.char_lm.corpus import UNKNOWN_ID, Vocabulary
from jrnn.types import Cell, Layer, Params, PRNGKey, State

CELLS = {"lstm": jrnn.LSTM, "gru": jrnn.GRU}


def build(config: Train, symbols: int) -> jrnn.Sequential:
    """Returns the model: embedding, recurrent layers and output layer.

    Example:
      >>> model = build(Train(hidden_size=8, dropout=0), symbols=5)
      >>> print(*model.layers, sep="\\n")
      Embed(vocabulary=5, features=64)
      Recurrent(cell=LSTM(hidden_size=8))
      Dense(features=5)
    """
    cell: Cell = CELLS[config.cell](config.hidden_size)
    layers: list[Layer] = [jrnn.Embed(symbols, config.embedding_size)]
    for _ in range(config.layers):
        layers.append(jrnn.Recurrent(cell))
        if config.dropout:
            # One mask for a whole chunk needs fewer random values.
            layers.append(jrnn.Dropout(config.dropout, locked=True))
    return jrnn.Sequential(*layers, jrnn.Dense(symbols))


def count(params: Params) -> int:
    """Returns the number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def write(
    model: jrnn.Sequential,
    params: Params,
    vocabulary: Vocabulary,
    how: Sample,
    state: State | None = None,
) -> str:
    """Returns the prime and the text that the model generates, without `<unk>`."""
    *others, dense = params
    masked = dense._replace(b=dense.b.at[UNKNOWN_ID].set(-jnp.inf))
    first = "\n" if "\n" in vocabulary.characters else vocabulary.characters[0]
    start = first if how.prime is None else how.prime
    prime = vocabulary.encode(start)[None]
    key: PRNGKey = jax.random.key(how.seed)
    _, symbols = jrnn.generate(
        model,
        (*others, masked),
        state,
        jnp.asarray(prime),
        how.length,
        key=key,
        temperature=how.temperature,
        top_k=how.top_k,
        top_p=how.top_p,
    )
    return start + vocabulary.decode(np.asarray(symbols[0]))
