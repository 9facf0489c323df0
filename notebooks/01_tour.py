# %% [markdown]
# # A tour: from nothing to a trained model
#
# jrnn computes recurrent networks as pure functions. You keep the arrays, `params` and `state`. A *cell* defines one time
# step, and `jrnn.scan` runs it over time. This notebook starts with one step and ends with a model that generates text.

# %%
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jrnn
from jrnn import training

FAST = bool(os.environ.get("JRNN_FAST"))
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

# %% [markdown]
# ## One step
#
# A cell is a plain value: you can print, compare and hash it. Its parameters are a NamedTuple of arrays, drawn with an
# explicit key. Its state is another NamedTuple.

# %%
cell = jrnn.GRU(hidden_size=4)
params = cell.init(jax.random.key(0), input_size=3)
state = cell.initial_state(params, batch_shape=(2,))
print(cell)
print(jax.tree.map(jnp.shape, params))
print(jax.tree.map(jnp.shape, state))

# %%
x = jax.random.normal(jax.random.key(1), (2, 3))  # [batch, features]
state, y = jrnn.step(cell, params, state, x)
y.shape

# %% [markdown]
# ## A sequence
#
# `jrnn.scan` is similar to `jax.lax.scan`: the state is the first argument and the first result. Sequences are
# `[*batch, time, features]`, with any number of batch axes, including none.

# %%
xs = jax.random.normal(jax.random.key(2), (2, 5, 3))
state, ys = jrnn.scan(cell, params, None, xs)  # None: the initial state
ys.shape, state.h.shape

# %% [markdown]
# Sequences often have different lengths. Padding has no effect: the state of a padded row does not change, its outputs are
# zero, and even a NaN in the padding does not affect a gradient.

# %%
padded = xs.at[0, 2:].set(jnp.nan)
lengths = jnp.array([2, 5])


def loss(params, xs):
    state, ys = jrnn.scan(cell, params, None, xs, lengths=lengths)
    return jnp.sum(ys**2) + jnp.sum(state.h)


gradient = jax.grad(loss)(params, padded)
short, _ = jrnn.scan(cell, params, None, xs[0, :2])
long, ys = jrnn.scan(cell, params, None, padded, lengths=lengths)
print(
    "finite gradient:",
    all(bool(jnp.isfinite(g).all()) for g in gradient if g is not None),
)
print(
    "the short row alone gives the same state:",
    bool(jnp.allclose(short.h, long.h[0], atol=1e-6)),
)

# %% [markdown]
# ## A model
#
# Layers map sequences to sequences, and a model is a layer too. This model reads characters and predicts the next one. The
# text is simple, so a small model can memorize it: the words for one to ten, repeated.

# %%
words = "one two three four five six seven eight nine ten "
text = words * (20 if FAST else 60)
alphabet = sorted(set(text))
ids = np.array([alphabet.index(c) for c in text])

size = 32 if FAST else 64
model = jrnn.Sequential(
    jrnn.Embed(len(alphabet), 16),
    jrnn.Recurrent(jrnn.LSTM(size)),
    jrnn.Dropout(0.1),
    jrnn.Dense(len(alphabet)),
)
params = model.init(jax.random.key(0))
print(model)
print(sum(leaf.size for leaf in jax.tree.leaves(params)), "parameters")

# %% [markdown]
# ## Training by truncated backpropagation through time
#
# The text is reshaped into contiguous rows and split into chunks of equal length. The state is carried from chunk to
# chunk, and its gradient is stopped. You only write the loss of one chunk.

# %%
inputs, targets = training.stream_to_rows(ids, batch=8)
chunks = training.split_into_chunks((inputs, targets), length=25)
print(
    "chunks",
    chunks.mask.shape,
    "of which the last has",
    int(chunks.mask[-1, 0].sum()),
    "steps a row",
)


def chunk_loss(params, state, chunk, key):
    inputs, targets = chunk.data
    state, logits = model.apply(params, state, inputs, mask=chunk.mask, key=key)
    return training.cross_entropy(logits, targets, chunk.mask), state


# Clips gradients; skips and counts those that are not finite.
tx = training.optimizer(optax.adam(1e-2))
train = jax.jit(training.train_on_chunks(chunk_loss, tx))

opt_state = tx.init(params)
history = []
for epoch in range(120 if FAST else 60):
    start = model.initial_state(params, (8,))
    params, opt_state, state, losses = train(
        params, opt_state, start, chunks, jax.random.key(epoch)
    )
    history.extend(losses.tolist())

# %%
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(history, lw=1)
ax.axhline(np.log(len(alphabet)), color="0.6", ls="--", lw=1)
ax.annotate("guessing", (len(history) * 0.8, np.log(len(alphabet)) - 0.25), color="0.4")
ax.set(xlabel="update", ylabel="nats per character", title="It learns to count")
plt.show()

# %% [markdown]
# ## Generation
#
# `jrnn.generate` samples from any model in one compiled loop. With `key=None`, decoding is greedy. Without a key there is
# no randomness, so there is no dropout either.

# %%
prime = jnp.array([[alphabet.index(c) for c in "one two three f"]])
_, out = jrnn.generate(model, params, None, prime, 40)
written = "one two three f" + "".join(alphabet[i] for i in out[0])
print(written)

# %%
_, out = jrnn.generate(
    model,
    params,
    None,
    jnp.repeat(prime, 3, 0),
    40,
    key=jax.random.key(3),
    temperature=1.5,
)
for row in out:
    print("one two three f" + "".join(alphabet[i] for i in row))

# %% [markdown]
# ## Checks

# %%
assert all(bool(jnp.isfinite(g).all()) for g in gradient if g is not None)
assert jnp.allclose(short.h, long.h[0], atol=1e-6)
assert history[-1] < 0.2 < np.log(len(alphabet))
assert written.startswith("one two three four five six seven eight nine ten")
