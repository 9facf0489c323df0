# %% [markdown]
# # The LSTM in stages, and the GRU
#
# An LSTM cell computes its values in three stages: how much of the memory to keep, what to add to it, and how much of it
# to output. You will compute each stage by hand, close and open the gates, and look at the gates of a trained LSTM while
# it reads a sentence. The notebook takes about thirty seconds on two CPU cores.

# %%
try:
    import jrnn
except ImportError:  # opened alone, for example in a hosted service
    import subprocess
    import sys

    subprocess.check_call([sys.executable, "-m", "pip", "install", "-q", "jrnn[viz]"])
    import jrnn

# %%

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from jrnn import diagnostics, training
from jrnn.diagnostics import plots

plt.style.use(plots.STYLE)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# %% [markdown]
# ## The three stages
#
# The state of an LSTM has two parts. The *cell state* $C_t$ is the long-term memory, and the *hidden state* $h_t$ is the
# short-term memory and the output. Every gate reads $h_{t-1}$ and $x_t$, and has weights of its own. Its activation is the
# sigmoid $\sigma$, so a gate is a value between 0 and 1 for each unit. jrnn stores the weights of the gates side by side in
# the order i, f, g, o; g is the candidate of stage 2.

# %%
I, H = 3, 4
cell = jrnn.LSTM(H)
params = cell.init(jax.random.key(0), I)
x = np.asarray(jax.random.normal(jax.random.key(1), (I,)))
h_before, c_before = np.asarray(jax.random.normal(jax.random.key(2), (2, H)))

w_xi, w_xf, w_xc, w_xo = np.split(np.asarray(params.w_x), 4, axis=1)
w_hi, w_hf, w_hc, w_ho = np.split(np.asarray(params.w_h), 4, axis=1)
b_i, b_f, b_c, b_o = np.split(np.asarray(params.b_x), 4)

# %% [markdown]
# **Stage 1: how much to remember.** The *forget gate* is
# $f_t = \sigma(x_t W_{xf} + h_{t-1} W_{hf} + b_f)$. It multiplies the long-term memory: 1 keeps it, and 0 erases it.

# %%
f = sigmoid(x @ w_xf + h_before @ w_hf + b_f)
kept = f * c_before

# %% [markdown]
# **Stage 2: what to add.** A *candidate* between -1 and 1 is a potential long-term memory,
# $\tilde C_t = \tanh(x_t W_{xc} + h_{t-1} W_{hc} + b_c)$. The *input gate* $i_t$ is the fraction of it that is added:
# $C_t = f_t C_{t-1} + i_t \tilde C_t$.

# %%
i = sigmoid(x @ w_xi + h_before @ w_hi + b_i)
candidate = np.tanh(x @ w_xc + h_before @ w_hc + b_c)
c_after = kept + i * candidate

# %% [markdown]
# **Stage 3: what to output.** The *output gate* $o_t$ is the fraction of the new memory that becomes the short-term memory:
# $h_t = o_t \tanh(C_t)$. The picture shows the four values of each unit from left to right: the first stage makes a bar
# shorter, the second adds to it, and the third makes it shorter again.

# %%
o = sigmoid(x @ w_xo + h_before @ w_ho + b_o)
h_after = o * np.tanh(c_after)

before = jrnn.cells.LSTMState(h=jnp.asarray(h_before), c=jnp.asarray(c_before))
after, y = jrnn.step(cell, params, before, jnp.asarray(x))
assert np.allclose(after.c, c_after, atol=1e-6)
assert np.allclose(after.h, h_after, atol=1e-6) and np.allclose(y, h_after, atol=1e-6)
gates = diagnostics.gates(cell, params, before, jnp.asarray(x)[None])
for name, value in {"i": i, "f": f, "o": o}.items():
    assert np.allclose(gates[name][0], value, atol=1e-6)

fig, ax = plt.subplots()
stages = {
    "before: $C_{t-1}$": c_before,
    "1: $f_t C_{t-1}$": kept,
    "2: $C_t = f_t C_{t-1} + i_t \\tilde C_t$": c_after,
    "3: $h_t = o_t \\tanh(C_t)$": h_after,
}
for number, (name, values) in enumerate(stages.items()):
    ax.bar(np.arange(H) + 0.2 * number - 0.3, values, 0.2, label=name)
ax.axhline(0, color="0.3", lw=0.8)
ax.set_xticks(range(H), range(1, H + 1))
ax.set(xlabel="unit", ylabel="value")
ax.set_title("One step of an LSTM: forget, add, output")
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()
assert (abs(kept) <= abs(c_before)).all() and (
    abs(h_after) <= abs(np.tanh(c_after))
).all()

# %% [markdown]
# ## What a gate can do
#
# There are no weights on the path from $C_{t-1}$ to $C_t$. With the forget gate at 1 and the input gate at 0, a memory is
# kept for any number of steps, whatever the input is. We set the biases of the gates by hand. In the picture, each line is
# the memory for one value of the forget gate $f$, and equals $f^t$ after $t$ steps.

# %%
steps = 40
noise = jax.random.normal(jax.random.key(3), (steps, I))
remembered = jrnn.cells.LSTMState(h=jnp.zeros(H), c=jnp.ones(H))


def memory(b_i, b_f):
    """The memory of all units with gates set by their biases, [steps, H]."""
    bias = jnp.repeat(jnp.array([b_i, b_f, 0.0, 0.0]), H)
    fixed = params._replace(b_x=bias)
    _, (_, states) = jrnn.scan(cell, fixed, remembered, noise, return_states=True)
    return states.c


def logit(p):
    return float(np.log(p / (1 - p)))


# The input gate is closed, so only the forget gate acts. Its weights are near zero.
params = params._replace(w_x=0.0 * params.w_x, w_h=0.0 * params.w_h)
fig, ax = plt.subplots()
for value in (0.5, 0.9, 0.99, 1 - 1e-7):
    path = memory(-30.0, logit(value))
    ax.plot(range(1, steps + 1), path[:, 0], label=f"f = {value:.2f}")
    assert np.allclose(path[:, 0], value ** np.arange(1, steps + 1), atol=1e-4)
ax.set(xlabel="time step", ylabel="memory $C_t$ (one at the start)", ylim=(0, 1.05))
ax.set_title("The forget gate decides how long a memory lasts")
fig.legend(*ax.get_legend_handles_labels(), loc="outside right")
plt.show()
assert np.allclose(memory(-30.0, 30.0), 1)  # kept
assert np.allclose(memory(-30.0, -30.0), 0)  # lost at once

# %% [markdown]
# ## The GRU: one gate instead of two
#
# A gated recurrent unit has no separate cell state. Its *update gate* $z_t$ replaces both the forget gate and the input
# gate: it keeps the fraction $z_t$ of the state and adds the fraction $1 - z_t$ of the candidate $n_t$. Its *reset gate*
# $r_t$ is the fraction of the past that the candidate reads:
#
# $$r_t = \sigma(\cdot), \quad z_t = \sigma(\cdot), \quad n_t = \tanh(x_t W_{xn} + b_n + r_t (h_{t-1} W_{hn} + b_{hn})),
# \quad h_t = (1 - z_t) n_t + z_t h_{t-1}$$

# %%
gru = jrnn.GRU(H)
g = gru.init(jax.random.key(4), I)
w_xr, w_xz, w_xn = np.split(np.asarray(g.w_x), 3, axis=1)
w_hr, w_hz, w_hn = np.split(np.asarray(g.w_h), 3, axis=1)
r = sigmoid(x @ w_xr + h_before @ w_hr)
z = sigmoid(x @ w_xz + h_before @ w_hz)
n = np.tanh(x @ w_xn + r * (h_before @ w_hn + np.asarray(g.b_h)))
assert not np.any(g.b_x)  # the biases start at zero
gru_state = jrnn.cells.GRUState(h=jnp.asarray(h_before))
_, y = jrnn.step(gru, g, gru_state, jnp.asarray(x))
assert np.allclose(y, (1 - z) * n + z * h_before, atol=1e-6)


def with_gates(b_r, b_z):
    fixed = g._replace(b_x=jnp.repeat(jnp.array([b_r, b_z, 0.0]), H))
    return jrnn.step(gru, fixed, gru_state, jnp.asarray(x))[1]


kept, replaced = with_gates(0.0, 30.0), with_gates(30.0, -30.0)
without_past = with_gates(-30.0, -30.0)
assert np.allclose(kept, h_before, atol=1e-6)  # z = 1: the state stays
assert np.allclose(replaced, np.tanh(x @ w_xn + h_before @ w_hn), atol=1e-6)  # z = 0
assert np.allclose(without_past, np.tanh(x @ w_xn), atol=1e-6)  # r = 0


def count(cell):
    """The number of parameters of a cell with 64 input features."""
    params = cell.init(jax.random.key(0), 64)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


counts = [count(c) for c in (jrnn.Elman(64), jrnn.GRU(64), jrnn.LSTM(64))]
print("parameters of 64 units: Elman {}, GRU {}, LSTM {}".format(*counts))
assert counts[0] < counts[1] < counts[2]

# %% [markdown]
# ## What gates do on a sentence
#
# In "the dogs near the old cat sleep", the verb agrees with "dogs", not with "cat", which is nearer. A model that predicts
# the verb has to remember the number of the subject, singular or plural, over the words between. We train an LSTM on such
# sentences, with subjects and other nouns of both numbers, and read its gates. A GRU gets the same training.

# %%
subjects, others = ["dog", "dogs", "horse", "horses"], ["cat", "cats", "tree", "trees"]
sentences = [
    f"the {s} {p} the {a} {n} {'sleep' if s.endswith('s') else 'sleeps'}"
    for s in subjects
    for p in ("near", "behind", "with")
    for a in ("old", "big")
    for n in others
]
vocabulary = sorted({word for s in sentences for word in s.split()})


def encode(sentence):
    return [vocabulary.index(word) for word in sentence.split()]


ids = jnp.array([encode(s) for s in sentences])
verbs = jnp.array([vocabulary.index("sleep"), vocabulary.index("sleeps")])
size = 16


def train(cell):
    """Returns trained parameters, and whether the verb of each sentence is right."""
    model = jrnn.Sequential(
        jrnn.Embed(len(vocabulary), 16),
        jrnn.Recurrent(cell),
        jrnn.Dense(len(vocabulary)),
    )

    def loss(params, batch, key):
        _, logits = model.apply(params, None, batch[:, :-1])
        return training.cross_entropy(logits, batch[:, 1:])

    found = training.fit(
        loss,
        model.init(jax.random.key(5)),
        (ids for _ in range(250)),
        training.optimizer(optax.adam(1e-2)),
        progress=False,
    )
    _, logits = model.apply(found.params, None, ids[:, :-1])
    answer = jnp.argmax(logits[:, -1, verbs], axis=-1)
    return found.params, answer == jnp.argmax(ids[:, -1:] == verbs, axis=-1)


trained, right = train(jrnn.LSTM(size))
_, right_of_gru = train(jrnn.GRU(size))
print(f"{len(sentences)} sentences, right verbs:")
print(f"LSTM {float(right.mean()):.0%}, GRU {float(right_of_gru.mean()):.0%}")
assert right.all() and right_of_gru.all()

# %% [markdown]
# The GRU is as good here, with fewer parameters.
#
# Now the LSTM reads two sentences that differ only in the number of the subject. We look for the unit whose memory differs
# most between them after the subject. In the picture, look at the distance between the two lines: the memory of this unit
# becomes different at the subject, and stays different over four words that do not depend on the subject.

# %%
lstm, weights = jrnn.LSTM(size), trained[1]
pair = ["the dog near the old cat", "the dogs near the old cat"]
tokens = jnp.array([encode(s) for s in pair])
_, embedded = jrnn.Embed(len(vocabulary), 16).apply(trained[0], None, tokens)
_, (_, states) = jrnn.scan(lstm, weights, None, embedded, return_states=True)
opened = diagnostics.gates(lstm, weights, None, embedded)

apart = abs(states.c[0] - states.c[1])  # [word, unit]
unit = int(jnp.argmax(apart[2:].min(axis=0)))  # apart at every word after the subject

fig, ax = plt.subplots()
words = pair[1].split()
for row, label, style in ((0, "the dog ...", "o-"), (1, "the dogs ...", "s-")):
    ax.plot(states.c[row, :, unit], style, label=label)
ax.set_xticks(range(6), ["the", "dog(s)", *words[2:]])
ax.axhline(0, color="0.3", lw=0.8)
ax.set(xlabel="word read", ylabel=f"memory $C_t$ of unit {unit + 1}")
ax.set_title("One unit remembers the number of the subject")
ax.legend()
plt.show()
assert apart[0].max() == 0  # the same word so far
assert apart[1:, unit].min() > 0.3
added = jnp.diff(states.c[:, 1:, unit], axis=1)  # by each word after the subject
assert abs(added[0] - added[1]).max() < apart[1:, unit].max()

# %% [markdown]
# The gates of this unit show how. After the subject, the forget gate is near one, so the memory of the subject stays. The
# input gate may open for later words, but they add about the same to both sentences: the two lines above move together,
# and the distance between them stays. The output gate decides how much of the memory the verb can use.

# %%
fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.6), sharey=True)
named = {"f": "forget gate", "i": "input gate", "o": "output gate"}
for ax, (name, title) in zip(axes, named.items(), strict=True):
    for row, label, style in ((0, "the dog ...", "o-"), (1, "the dogs ...", "s-")):
        ax.plot(opened[name][row, :, unit], style, ms=4, label=label)
    ax.set_xticks(range(6), ["the", "dog(s)", *words[2:]], rotation=60)
    ax.set(title=title, ylim=(-0.05, 1.05), xlabel="word read")
axes[0].set_ylabel("value of the gate")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside right")
fig.suptitle(
    f"After the subject, the forget gate of unit {unit + 1} stays open",
    x=0.01,
    ha="left",
    fontsize=11,
)
plt.show()

kept_parts = jnp.prod(opened["f"][1, 2:], axis=0)  # over the last four words, [unit]
print("part of the memory that the forget gates keep over the last four words:")
print(f"unit {unit + 1} {kept_parts[unit]:.2f}, median {jnp.median(kept_parts):.2f}")
assert kept_parts[unit] > 0.2

# %% [markdown]
# ## What to remember
#
# * The forget gate scales the memory, the input gate scales what is added, and the output gate scales the output.
# * There are no weights on the path of the memory, so a memory can stay for many steps.
# * A GRU has one update gate instead of a forget and an input gate, no separate memory, and fewer parameters.
#
# Next: [backpropagation through time by hand](05_bptt.ipynb). More: [all cells](../docs/cells.md).
