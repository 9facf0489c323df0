# %% [markdown]
# # A tour: from nothing to a trained model
#
# You will run one step of a recurrent network, then a whole sequence, and then train a model that writes the words for one
# to ten. A model without memory is trained on the same text and fails, and a picture shows by how much. The notebook takes
# about twenty seconds on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from jrnn import training
from jrnn.diagnostics import plots

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## One step
#
# A recurrent network reads a sequence one element at a time. It carries a *state*, which summarizes what it has read so
# far. One *step* has two inputs, the state and the element $x_t$, and two outputs, the next state and the output $y_t$.
#
# jrnn computes recurrent networks as pure functions. A *cell* defines one time step. It is a plain value: you can print,
# compare and hash it. You keep the arrays. The parameters are a NamedTuple, drawn with an explicit key, and the state is
# another NamedTuple. The cell here is a GRU, and the model below has an LSTM. [Notebook 04](04_lstm.ipynb) explains both;
# here it only matters that they are cells.

# %%
cell = jrnn.GRU(hidden_size=4)
params = cell.init(jax.random.key(0), input_size=3)
state = cell.initial_state(params, batch_shape=(2,))

x = jax.random.normal(jax.random.key(1), (2, 3))  # [batch, features]
state, y = jrnn.step(cell, params, state, x)
print(cell)
print("parameters", jax.tree.map(jnp.shape, params))
print("state     ", jax.tree.map(jnp.shape, state))
assert y.shape == (2, 4)

# %% [markdown]
# ## A sequence
#
# `jrnn.scan` runs the cell over time, similar to `jax.lax.scan`. Sequences are `[*batch, time, features]`, with any number
# of batch axes, including none. The state comes first, before the inputs and before the outputs. `None` means the initial
# state, which is zero.

# %%
xs = jax.random.normal(jax.random.key(2), (2, 5, 3))
state, ys = jrnn.scan(cell, params, None, xs)
assert ys.shape == (2, 5, 4)
assert jnp.allclose(ys[:, -1], state.h)

zero = cell.initial_state(params, (2,))
assert not zero.h.any()
assert jnp.array_equal(jrnn.scan(cell, params, zero, xs)[1], ys)

# The state is all that the network remembers: a sequence can be continued.
first, _ = jrnn.scan(cell, params, None, xs[:, :2])
again, _ = jrnn.scan(cell, params, first, xs[:, 2:])
assert jnp.allclose(again.h, state.h, atol=1e-6)

# %% [markdown]
# Sequences of one batch often have different lengths, so short ones are padded. A fully connected network needs inputs of
# one size, so padding becomes part of its input. A recurrent network stops at the end of each sequence. In jrnn, padding
# has no effect: the state does not change in a padded step, the outputs are zero there, and even a NaN in the padding
# does not affect a gradient.

# %%
padded = xs.at[0, 2:].set(jnp.nan)
lengths = jnp.array([2, 5])


def loss(params, xs):
    state, ys = jrnn.scan(cell, params, None, xs, lengths=lengths)
    return jnp.sum(ys**2) + jnp.sum(state.h)


gradient = jax.grad(loss)(params, padded)
short, _ = jrnn.scan(cell, params, None, xs[0, :2])
both, ys = jrnn.scan(cell, params, None, padded, lengths=lengths)
assert jnp.allclose(short.h, both.h[0], atol=1e-6)
assert not ys[0, 2:].any()
assert training.all_finite(gradient)

# %% [markdown]
# ## A model
#
# Layers map sequences to sequences, and a model is a layer too. The task is *language modeling*: read a text and predict,
# at every step, what comes next. Here the text is read character by character. It repeats the words for one to ten.
#
# There are two approaches to sequences. The model with memory has a recurrent layer. The model without memory is a
# feed-forward network: it reads the current character only.

# %%
words = "one two three four five six seven eight nine ten "
text = words * (20 if FAST else 60)
alphabet = sorted(set(text))
ids = np.array([alphabet.index(c) for c in text])

size = 32 if FAST else 64
with_memory = jrnn.Sequential(
    jrnn.Embed(len(alphabet), 16),
    jrnn.Recurrent(jrnn.LSTM(size)),
    jrnn.Dropout(0.1),
    jrnn.Dense(len(alphabet)),
)
without_memory = jrnn.Sequential(
    jrnn.Embed(len(alphabet), size),
    jrnn.Dense(len(alphabet)),
)

# %% [markdown]
# ## Training
#
# The text is reshaped into contiguous rows and split into chunks of equal length. The state is carried from chunk to
# chunk, and the gradient stops between them. That is truncated backpropagation through time, the topic of
# [notebook 07](07_clipping_and_truncation.ipynb). You only write the loss of one chunk: the cross entropy, which is minus
# the log probability of the next character. With the natural logarithm, its unit is the *nat*.

# %%
inputs, targets = training.stream_to_rows(ids, batch=8)
chunks = training.split_into_chunks((inputs, targets), length=25)


def train(model, epochs):
    """Returns trained parameters and the loss of every update."""

    def chunk_loss(params, state, chunk, key):
        inputs, targets = chunk.data
        state, logits = model.apply(params, state, inputs, mask=chunk.mask, key=key)
        return training.cross_entropy(logits, targets, chunk.mask), state

    # Clips gradients; skips and counts those that are not finite.
    tx = training.optimizer(optax.adam(1e-2))
    run = jax.jit(training.train_on_chunks(chunk_loss, tx))
    params = model.init(jax.random.key(0))
    opt_state, history = tx.init(params), []
    for epoch in range(epochs):
        start = model.initial_state(params, (8,))
        params, opt_state, _, losses = run(
            params, opt_state, start, chunks, jax.random.key(epoch)
        )
        history.extend(losses.tolist())
    return params, history


epochs = 40 if FAST else 14
params, history = train(with_memory, epochs)
_, history_without = train(without_memory, epochs)

# %% [markdown]
# How good can a model without memory become? It can learn how often each character follows each other one. The entropy of
# these frequencies is a lower bound for its loss. For example, any of the letters `o`, `t`, `f`, `s`, `e` and `n` may
# follow a space, and only the words before determine which one.
#
# In the picture, compare each curve with the dashed line. The model without memory reaches the line and stays there. The
# model with memory goes far below it. Its small peaks are the first chunks of each epoch, where the state is zero again,
# so the memory is empty.

# %%
counts = np.zeros((len(alphabet), len(alphabet)))
np.add.at(counts, (ids[:-1], ids[1:]), 1)
joint = counts / counts.sum()
given = counts / counts.sum(axis=1, keepdims=True)
bound = -np.sum(joint[joint > 0] * np.log(given[joint > 0]))
guessing = np.log(len(alphabet))

fig, ax = plt.subplots()
ax.plot(history_without, label="without memory")
ax.plot(history, label="with memory (LSTM)")
ax.axhline(bound, color="0.4", ls="--", lw=1)
ax.text(len(history), bound + 0.1, "bound without memory", color="0.3", ha="right")
ax.set(xlabel="update", ylabel="loss (nats per character)", ylim=(0, None))
ax.set_title("Memory predicts what the last character alone cannot")
ax.legend(loc=(0.6, 0.6))
plt.show()

reached, reached_without = np.mean(history[-20:]), np.mean(history_without[-20:])
print(f"guessing {guessing:.2f}, bound without memory {bound:.2f} nats per character")
print(f"reached: without memory {reached_without:.2f}, with memory {reached:.2f}")
assert 0.95 * bound < reached_without < 1.2 * bound
assert reached < 0.5 * bound

# %% [markdown]
# ## Generation
#
# A model that predicts the next character can write: take a prediction, append it to the text, and repeat. `jrnn.generate`
# does this in one compiled loop. With `key=None`, it takes the most probable character. Without a key there is no
# randomness, so there is no dropout either.

# %%
start = "one two three f"
prime = jnp.array([[alphabet.index(c) for c in start]])
_, out = jrnn.generate(with_memory, params, None, prime, 40)
written = start + "".join(alphabet[i] for i in out[0])
print("most probable:", written)
assert written.startswith("one two three four five six seven eight nine ten")

# %% [markdown]
# With a key, it samples from the predicted probabilities. A *temperature* above one makes less probable characters more
# likely, so these rows contain words that are not in the text.

# %%
_, out = jrnn.generate(
    with_memory,
    params,
    None,
    jnp.repeat(prime, 3, axis=0),
    40,
    key=jax.random.key(3),
    temperature=2.0,
)
samples = [start + "".join(alphabet[i] for i in row) for row in out]
for sample in samples:
    print("sampled:", sample)
assert len(set(samples)) == 3
assert not set(" ".join(samples).split()) <= set(words.split())

# %% [markdown]
# ## What to remember
#
# * A cell is one step. `jrnn.scan` runs it over time: `state, ys = jrnn.scan(cell, params, state, xs)`.
# * The state is the memory of the network. With it, a model predicts what the last character alone cannot predict.
# * Layers, models, training steps and generation are pure functions of arrays that you hold.
#
# Next: [one computation, three ways to write it](01_unfolding.ipynb). More: [the design of jrnn](../docs/design.md).
