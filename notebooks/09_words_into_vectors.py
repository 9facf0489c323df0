# %% [markdown]
# # Words into vectors
#
# You will see how a text becomes vectors: a vocabulary with `<unk>` and `<eos>`, one-hot vectors, and embeddings that a
# model learns while it predicts the next word. Then the next word depends on a word from far back, and you compare an
# Elman network with an LSTM. The notebook takes about half a minute on two CPU cores.

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
from jrnn.sequences import pad
from jrnn.text import Vocabulary

FAST = bool(os.environ.get("JRNN_FAST"))  # smaller sizes, for tests
plt.style.use(plots.STYLE)

# %% [markdown]
# ## A vocabulary
#
# A vocabulary gives each word a number, its id. Two ids are reserved. `<unk>` stands for every word that is not in the
# vocabulary, and `<eos>` marks the end of a sentence or a text.

# %%
small = Vocabulary.build("the cat sees the mouse and the lion", "words")
ids = small.encode("the zyzzyva sees the cat", end=True)
print({i: small.decode([i]) for i in range(2, len(small))})
print(ids.tolist(), "->", repr(small.decode(ids)))

assert small.id("<unk>") == 0 and small.id("<eos>") == 1
assert ids[1] == 0  # zyzzyva is unknown
assert ids[-1] == 1  # the end
assert small.decode(small.encode("the mouse sees the cat")) == "the mouse sees the cat"

# %% [markdown]
# ## One-hot vectors
#
# A network computes with vectors. The *one-hot* vector of id $i$ has a 1 at position $i$ and 0 elsewhere. It has two
# disadvantages. With 10,000 words it has 10,000 entries. And all words are equally far from each other: the distance
# between any two is $\sqrt 2$, although *man* and *woman* have more in common than *man* and *lion*.

# %%
number = 10_000
man, woman, lion = (jax.nn.one_hot(i, number) for i in (6000, 9777, 5831))
distances = [float(jnp.linalg.norm(a - b)) for a, b in ((man, woman), (man, lion))]
print("man to woman, man to lion:", distances)
np.testing.assert_allclose(distances, np.sqrt(2), rtol=1e-6)

# %% [markdown]
# ## An embedding is a one-hot vector times a matrix
#
# The first matmul of a network with one-hot inputs selects one row of its weights. So the matmul is not needed:
# `jrnn.Embed` looks up the row. The rows are parameters that are trained. With 64 features per word, a text of 1,000 words
# takes 64 thousand values instead of 10 million.

# %%
embed = jrnn.Embed(vocabulary=number, features=64)
params = embed.init(jax.random.key(0))
some = jnp.array([6000, 9777, 5831])
_, vectors = embed.apply(params, (), some)
by_matmul = jax.nn.one_hot(some, number) @ params.table
assert vectors.shape == (3, 64)
np.testing.assert_allclose(vectors, by_matmul, atol=1e-6)

# Only the rows of words that occur get a gradient.
slope = jax.grad(lambda p: jnp.sum(embed.apply(p, (), some)[1] ** 2))(params)
moved = np.flatnonzero(np.abs(slope.table).sum(axis=1))
assert moved.tolist() == sorted(some.tolist())

# %% [markdown]
# ## What an embedding learns
#
# The task is to predict the next word of generated sentences. In these, people speak, read and write, animals roar and
# hunt, and all of them eat and sleep. The model is not told that *man* and *woman* have something in common. But the same
# words follow both, so similar vectors are useful for both.

# %%
rng = np.random.default_rng(0)
PEOPLE, ANIMALS = ["man", "woman", "boy", "girl"], ["lion", "tiger", "wolf", "bear"]
HUMAN, WILD, ALL = ["speaks", "reads", "writes"], ["roars", "hunts"], ["eats", "sleeps"]
ADVERBS = ["often", "today", "alone"]


def sentence():
    """Returns one sentence of the language."""
    person = rng.random() < 0.5
    subject = rng.choice(PEOPLE if person else ANIMALS)
    verb = rng.choice((HUMAN if person else WILD) + ALL)
    return f"the {subject} {verb} {rng.choice(ADVERBS)}"


texts = [sentence() for _ in range(400)]
words = Vocabulary.build(texts, "words")
corpus = jnp.stack([jnp.array(words.encode(text, end=True)) for text in texts])
predictor = jrnn.Sequential(
    jrnn.Embed(len(words), 8), jrnn.Recurrent(jrnn.Elman(16)), jrnn.Dense(len(words))
)


def next_word_loss(model, answer):
    """Returns the loss: the cross entropy of each word, given the words before.

    `answer` is an additional weight of the last word.
    """

    def loss(params, batch, key):
        _, logits = model.apply(params, None, batch[:, :-1], key=key)
        words = training.cross_entropy(logits, batch[:, 1:])
        return words + answer * training.cross_entropy(logits[:, -1:], batch[:, -1:])

    return loss


def train(model, data, updates, answer=0.0, rate=1e-2, seed=0):
    """Returns parameters and the loss of every update."""
    draw = np.random.default_rng(seed)
    batches = (data[draw.integers(len(data), size=32)] for _ in range(updates))
    found = training.fit(
        next_word_loss(model, answer),
        model.init(jax.random.key(seed)),
        batches,
        training.optimizer(optax.adam(rate)),
        progress=False,
    )
    return found.params, found.history.loss


updates = 300 if FAST else 400
params, history = train(predictor, corpus, updates)

# %% [markdown]
# The model does not return one word. It returns a probability for every word, by a softmax of its outputs. The picture
# shows the probabilities after *the woman*: the verbs of people and the common verbs have high bars, and the verbs of
# animals have almost none.

# %%
_, logits = predictor.apply(params, None, jnp.array(words.encode("the woman")))
probability = jax.nn.softmax(logits[-1])
likely = {words.decode([i]).strip(): float(p) for i, p in enumerate(probability)}

order = HUMAN + WILD + ALL
fig, ax = plt.subplots(figsize=(6.4, 2.8))
ax.bar(order, [likely[w] for w in order], color=plots.COLORS[0])
ax.set(xlabel="next word", ylabel="probability")
ax.set_title("After “the woman …”, the model predicts verbs of people")
plt.show()
assert min(likely[w] for w in HUMAN + ALL) > 0.05
assert max(likely[w] for w in WILD) < 0.02
assert abs(float(probability.sum()) - 1) < 1e-5

# %% [markdown]
# Are the vectors of similar words similar? The cosine of two vectors is 1 for the same direction, and -1 for opposite
# directions. In the picture, the two squares of four words on the diagonal are people with people, and animals with
# animals: mostly red. The two other squares are people with animals: blue.

# %%
nouns = PEOPLE + ANIMALS
table = np.asarray(params[0].table)[[words.id(" " + noun) for noun in nouns]]
unit = table / np.linalg.norm(table, axis=1, keepdims=True)
cosine = unit @ unit.T

fig, ax = plt.subplots(figsize=(4.6, 3.6))
image = ax.imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1)
ax.set_xticks(range(8), nouns, rotation=45)
ax.set_yticks(range(8), nouns)
ax.set(xlabel="word", ylabel="word")
ax.grid(visible=False)
fig.colorbar(image, label="cosine of the two vectors")
ax.set_title("Similar words have similar vectors")
plt.show()

inside = [cosine[i, j] for i in range(8) for j in range(i) if (i < 4) == (j < 4)]
across = [cosine[i, j] for i in range(8) for j in range(i) if (i < 4) != (j < 4)]
print(f"mean cosine: in a group {np.mean(inside):.2f}, across {np.mean(across):.2f}")
assert cosine[0, 1] > cosine[0, 4]  # man is closer to woman than to lion
assert np.mean(inside) > np.mean(across) + 0.5

# %% [markdown]
# The table can start from vectors that were trained on large texts, such as GloVe and word2vec: `jrnn.text.read_vectors`
# reads their files, and `jrnn.text.embedding_table` puts them in the order of a vocabulary.

# %%
start, found = jrnn.text.embedding_table(
    jax.random.key(0), words, ["woman", "lion"], np.eye(2, 8, dtype=np.float32)
)
assert start.shape == (len(words), 8) and found.sum() == 2
np.testing.assert_array_equal(start[words.id(" woman")], np.eye(2, 8)[0])

# %% [markdown]
# ## A word from far back
#
# *The mouse was getting chased by the cat through the big house. After a long chase, the cat finally managed to catch
# the …* The answer is *mouse*, a word from the beginning. We write this sentence with other animals as well. In these
# sentences only the animals are hard to predict, and the last one needs a memory of 24 steps.

# %%
CAST = ["mouse", "cat", "dog", "fox", "hen", "rat", "owl", "frog"]
PLOT = (
    "the {} was getting chased by the {} through the big house . "
    "after a long chase , the {} finally managed to catch the {}"
)
stories = [PLOT.format(a, b, b, a).split() for a in CAST for b in CAST if a != b]
tokens = Vocabulary.build(stories, "tokens")
rows, lengths = pad([tokens.encode(story) for story in stories])
rows = jnp.array(rows)
far = len(stories[0]) - 1 - stories[0].index(stories[0][-1])
print(" ".join(stories[0]))
print(f"{len(rows)} sentences of {lengths[0]} words; the answer is {far} words back")
assert far == 24

# %% [markdown]
# The last animal is not the one that chases, so a guess is right in one of seven sentences. Both networks get the same
# number of units, updates and sentences. The answer is one word of 25, so its loss is added a second time. The forget gates
# of the LSTM start nearly open, with a forget bias of 3, so that it remembers before it has learned what to forget.

# %%


def storyteller(cell):
    return jrnn.Sequential(
        jrnn.Embed(len(tokens), 16), jrnn.Recurrent(cell), jrnn.Dense(len(tokens))
    )


def answers(model, params):
    """Returns the fraction of sentences whose last word is right."""
    _, logits = model.apply(params, None, rows[:, :-1])
    return float(jnp.mean(jnp.argmax(logits[:, -1], axis=-1) == rows[:, -1]))


models = {
    "Elman": storyteller(jrnn.Elman(32)),
    "LSTM": storyteller(jrnn.LSTM(32, forget_bias=3.0)),
}
learned, right = {}, {}
for name, model in models.items():
    learned[name], _ = train(model, rows, 200 if FAST else 400, answer=1.0)
    right[name] = answers(model, learned[name])
    print(f"{name:6} last word right: {right[name]:.0%}   (guess: {1 / 7:.0%})")
assert right["LSTM"] > 0.95
assert right["Elman"] < right["LSTM"] - 0.2

# %% [markdown]
# What does the answer depend on? We change the first animal and keep all other words. In the picture, each row is a
# sentence, and the dark cells are the answer. For the LSTM they are on the diagonal: the answer is the first animal. For
# the Elman network all rows are almost equal: its answer does not depend on the first animal.

# %%
chased = [animal for animal in CAST if animal != "cat"]
changed = jnp.stack(
    [rows[stories.index(PLOT.format(a, "cat", "cat", a).split())] for a in chased]
)
columns = np.array([tokens.id(animal) for animal in chased])
given = {}
for name, model in models.items():
    _, logits = model.apply(learned[name], None, changed[:, :-1])
    given[name] = np.asarray(jax.nn.softmax(logits[:, -1])[:, columns])

fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.4), sharey=True)
for ax, (name, probability) in zip(axes, given.items(), strict=True):
    image = ax.imshow(probability, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(7), chased, rotation=45)
    ax.set_yticks(range(7), chased)
    ax.set(xlabel="answer, 24 words later", title=name)
    ax.grid(visible=False)
axes[0].set_ylabel("first animal of the sentence")
fig.colorbar(image, ax=axes, label="probability of the answer")
plt.show()
followed = {name: float(np.diagonal(p).mean()) for name, p in given.items()}
print({name: f"{p:.0%} for the right answer" for name, p in followed.items()})
assert followed["LSTM"] > 0.8
assert followed["Elman"] < 0.4
moved = {name: float(np.ptp(p, axis=0).mean()) for name, p in given.items()}
assert moved["Elman"] < 0.2 and moved["LSTM"] > 0.6

# %% [markdown]
# ## What to remember
#
# * A vocabulary turns words into ids, with `<unk>` for unknown words and `<eos>` for the end.
# * An embedding is a one-hot vector times a matrix, computed by a lookup. Its rows are learned, and words in the same
#   contexts get similar rows.
# * The last word of a sentence can depend on its first noun. Here the LSTM learned that, and the Elman network did not.
#
# Next: [a character model](10_character_model.ipynb). More: [gradients through time](../docs/gradients.md).
