# %% [markdown]
# # From one to many: the shapes of tasks
#
# You will see the five ways in which inputs and outputs can be sequences: one to one, many to one, many to many with one
# output per input, one to many, and many to many with another length. Each of the last four is a small model that learns a
# small task. The last one translates, first with an encoder and a decoder alone, then with attention. The notebook takes
# about a minute on two CPU cores.

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
# ## Five shapes
#
# A recurrent layer maps a sequence $x_1, \dots, x_T$ to a sequence of the same length. All five shapes are made from it. In
# the picture, red boxes are inputs, green boxes are states, and blue boxes are outputs. Each solid arrow is a function, and
# the arrows of one kind share their weights over time. A dashed arrow is an output that the network reads in the next step.
#
# *One to one* is an ordinary network with no sequence at all, for example to tell whether an email with a fixed set of
# features is spam.

# %%
RED, GREEN, BLUE = plots.COLORS[1], plots.COLORS[2], plots.COLORS[0]


def draw(ax, left, title, steps, inputs, outputs, feedback=False):
    """Draws one shape: which steps have an input, and which have an output."""
    arrow = {"arrowstyle": "-|>", "color": "0.3", "shrinkA": 0, "shrinkB": 0}
    dashed = {**arrow, "linestyle": "--", "linewidth": 0.8}
    box = {"width": 0.5, "height": 0.5, "ec": "white"}
    for t in range(steps):
        x = left + t
        ax.add_patch(plt.Rectangle((x - 0.25, 0.75), fc=GREEN, **box))
        if t + 1 < steps:
            ax.annotate("", (x + 0.75, 1), (x + 0.25, 1), arrowprops=arrow)
        if t in inputs:
            ax.add_patch(plt.Rectangle((x - 0.25, -0.25), fc=RED, **box))
            ax.annotate("", (x, 0.75), (x, 0.25), arrowprops=arrow)
        if t in outputs:
            ax.add_patch(plt.Rectangle((x - 0.25, 1.75), fc=BLUE, **box))
            ax.annotate("", (x, 1.75), (x, 1.25), arrowprops=arrow)
        if feedback and t - 1 in outputs:
            ax.annotate("", (x - 0.25, 1.25), (x - 0.75, 1.75), arrowprops=dashed)
    ax.text(left + (steps - 1) / 2, 2.5, title, ha="center", fontsize=9)


fig, ax = plt.subplots(figsize=(7.6, 2))
draw(ax, 0, "one to one", 1, {0}, {0})
draw(ax, 2, "many to one", 3, {0, 1, 2}, {2})
draw(ax, 6, "many to many,\nsame length", 3, {0, 1, 2}, {0, 1, 2})
draw(ax, 10, "one to many", 3, {0}, {0, 1, 2}, feedback=True)
draw(ax, 14, "many to many,\nanother length", 5, {0, 1}, {2, 3, 4}, feedback=True)
ax.set(xlim=(-0.8, 18.5), ylim=(-0.4, 3.4), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# In code, the first three differ in what is called and what is kept: one step, the last output of a sequence, or all of
# its outputs. `jax.eval_shape` returns the shapes without computing the values.

# %%
B, T, I, H = 2, 7, 3, 4
whole = jrnn.Recurrent(jrnn.GRU(H))
last = jrnn.Recurrent(jrnn.GRU(H), return_sequence=False)


def three_shapes(key):
    params, xs = whole.init(key, I), jnp.ones((B, T, I))
    return {
        "one to one": jrnn.step(whole.cell, params, None, xs[:, 0])[1],
        "many to one": last.apply(params, None, xs)[1],
        "many to many": whole.apply(params, None, xs)[1],
    }


shapes = jax.eval_shape(three_shapes, jax.random.key(0))
for name, output in shapes.items():
    print(f"{name:13}", output.shape)
assert shapes["one to one"].shape == shapes["many to one"].shape == (B, H)
assert shapes["many to many"].shape == (B, T, H)

# %% [markdown]
# ## Many to one: the sentiment of a sentence
#
# The sentences of this notebook are generated from a few words. Here a sentence makes one statement, or two with *but*
# between them, and the last one decides: *the film was dull but not slow* is positive. The order matters. A sum of word
# vectors has no order, so a model that reads the sum cannot distinguish *good but dull* from *dull but good*.

# %%
rng = np.random.default_rng(0)
GOOD, BAD = ["good", "funny", "bright", "deep"], ["bad", "dull", "slow", "flat"]


def review():
    """Returns a sentence, and whether it is positive."""
    words = ["the", rng.choice(["film", "book", "play", "show"]), "was"]
    for part in range(rng.integers(1, 3)):
        negated, positive = rng.integers(2, size=2)
        words += ["but"] * part + ["not"] * negated
        words += [str(rng.choice(GOOD if positive else BAD))]
    return " ".join(words), int(positive != negated)


def arrays(examples, vocabulary):
    """Returns padded ids, lengths and labels."""
    ids, lengths = pad([vocabulary.encode(text) for text, _ in examples])
    return jnp.array(ids), jnp.array(lengths), jnp.array([y for _, y in examples])


reviews = [review() for _ in range(1500)]
texts = [text for text, _ in reviews]
vocabulary = Vocabulary.build(texts, "words")
unseen = [one for one in reviews[1000:] if one[0] not in set(texts[:1000])]
train_set, test_set = (arrays(some, vocabulary) for some in (reviews[:1000], unseen))

sentiment = jrnn.Sequential(
    jrnn.Embed(len(vocabulary), 8),
    jrnn.Recurrent(jrnn.GRU(16), return_sequence=False),
    jrnn.Dense(2),
)


def sentiment_loss(params, batch, key):
    ids, lengths, labels = batch
    _, logits = sentiment.apply(params, None, ids, lengths=lengths, key=key)
    return training.cross_entropy(logits, labels)


def batches(data, steps, size=32, seed=1):
    """Yields random rows of arrays."""
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        rows = draw.integers(len(data[0]), size=size)
        yield tuple(a[rows] for a in data)


def train(loss, params, data, steps, rate=1e-2):
    """Returns what `training.fit` learned, and the loss of every update."""
    tx = training.optimizer(optax.adam(rate))
    found = training.fit(loss, params, batches(data, steps), tx, progress=False)
    return found.params, found.history.loss


params, history = train(
    sentiment_loss, sentiment.init(jax.random.key(0)), train_set, 150 if FAST else 300
)
ids, lengths, labels = test_set
_, logits = sentiment.apply(params, None, ids, lengths=lengths)
gru_accuracy = float(training.accuracy(logits, labels))

# %% [markdown]
# The model to compare with has no memory. It sums the embeddings of all words, and is trained in the same way.

# %%
bag = jrnn.Sequential(jrnn.Embed(len(vocabulary), 8))
head = jrnn.Sequential(jrnn.Dense(16), jrnn.Map(jnp.tanh), jrnn.Dense(2))


def bag_logits(params, ids, lengths):
    _, vectors = bag.apply(params[0], None, ids, lengths=lengths)
    valid = jnp.arange(ids.shape[-1]) < lengths[:, None]
    summed = jnp.sum(vectors * valid[..., None], axis=1)
    return head.apply(params[1], None, summed)[1]


def bag_loss(params, batch, key):
    del key
    ids, lengths, labels = batch
    return training.cross_entropy(bag_logits(params, ids, lengths), labels)


start = bag.init(jax.random.key(0)), head.init(jax.random.key(1), 8)
bag_params, _ = train(bag_loss, start, train_set, 150 if FAST else 300)
bag_accuracy = float(training.accuracy(bag_logits(bag_params, ids, lengths), labels))
print(f"{len(labels)} sentences that were not in training")
print(f"accuracy: GRU {gru_accuracy:.3f}, sum of the words {bag_accuracy:.3f}")
assert gru_accuracy > 0.98
assert bag_accuracy < 0.8

# %% [markdown]
# The model returns one output at the end. The same weights also give an output after each word, so we can look at how the
# state changes while the model reads. In the picture, values above the dashed line mean positive. After *dull* the model is
# sure that the sentence is negative. After *but not* it expects the opposite, and *slow* confirms it.

# %%
reader = jrnn.Sequential(
    sentiment.layers[0], jrnn.Recurrent(jrnn.GRU(16)), sentiment.layers[2]
)
sentence = "the film was dull but not slow"
_, logits = reader.apply(params, None, jnp.array(vocabulary.encode(sentence)))
positive = jax.nn.softmax(logits)[:, 1]

fig, ax = plt.subplots(figsize=(6.4, 2.8))
ax.plot(positive, "o-")
ax.axhline(0.5, color="0.4", ls="--", lw=1)
ax.set_xticks(range(len(positive)), sentence.split())
ax.set(xlabel="word that was read last", ylabel="probability of positive")
ax.set(ylim=(-0.05, 1.05))
ax.set_title("The prediction changes while the model reads")
plt.show()
assert positive[3] < 0.5 < positive[-1]

# %% [markdown]
# ## Many to many, same length: tags of words
#
# A part-of-speech tagger returns one tag per word. Some words have two possible tags: *fish* is a verb in *they fish the
# duck*, and a noun in *the fish duck*. A table that has one tag for each word is wrong in one of the two. A recurrent
# network can use the word before, because it is in the state. To label each frame of a video is a task of the same shape.

# %%
BOTH, NOUNS, VERBS = ["fish", "duck", "saw"], ["dog", "tree"], ["see", "hear"]
TAGS = ["article", "adjective", "noun", "pronoun", "verb"]


def tagged():
    """Returns a sentence and its tags."""

    def noun_phrase():
        if rng.random() < 0.4:
            return [(rng.choice(["they", "we"]), "pronoun")]
        adjective = [(rng.choice(["old", "red"]), "adjective")] * (rng.random() < 0.4)
        return [("the", "article"), *adjective, (rng.choice(NOUNS + BOTH), "noun")]

    verb = [(rng.choice(VERBS + BOTH), "verb")]
    pairs = noun_phrase() + verb + noun_phrase()
    return " ".join(w for w, _ in pairs), [TAGS.index(t) for _, t in pairs]


sentences = [tagged() for _ in range(600)]
words = Vocabulary.build([text for text, _ in sentences], "words")
tag_ids, tag_lengths = pad([words.encode(text) for text, _ in sentences])
tags, _ = pad([np.array(t, np.int32) for _, t in sentences])
tag_data = tuple(map(jnp.array, (tag_ids, tag_lengths, tags)))

tagger = jrnn.Sequential(
    jrnn.Embed(len(words), 8), jrnn.Recurrent(jrnn.GRU(16)), jrnn.Dense(len(TAGS))
)


def valid(ids, lengths):
    return jnp.arange(ids.shape[-1]) < lengths[:, None]


def tagger_loss(params, batch, key):
    ids, lengths, tags = batch
    _, logits = tagger.apply(params, None, ids, lengths=lengths, key=key)
    return training.cross_entropy(logits, tags, valid(ids, lengths))


tagger_params, _ = train(
    tagger_loss,
    tagger.init(jax.random.key(0)),
    tuple(a[:400] for a in tag_data),
    120 if FAST else 200,
)
ids, lengths, truth = (a[400:] for a in tag_data)
_, logits = tagger.apply(tagger_params, None, ids, lengths=lengths)
tag_accuracy = float(training.accuracy(logits, truth, valid(ids, lengths)))

counts = np.zeros((len(words), len(TAGS)))  # a table of the most frequent tag
keep = np.asarray(valid(tag_ids, jnp.array(tag_lengths)))
np.add.at(counts, (tag_ids[keep], tags[keep]), 1)
table_accuracy = counts.max(axis=1).sum() / counts.sum()
print(f"tags that are right: GRU {tag_accuracy:.3f}, best table {table_accuracy:.3f}")
assert tag_accuracy > 0.98 > 0.95 > table_accuracy

# %% [markdown]
# The picture shows the probability of each tag (rows) for each word (columns). *fish* occurs twice, with two tags.


# %%
def heat_map(values, columns, rows, title, *, x, y, of, rotation=0):
    """Shows values between 0 and 1, with a word for each column and each row."""
    fig, ax = plt.subplots(figsize=(5.6, 1.2 + 0.32 * len(rows)))
    image = ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=rotation)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel=x, ylabel=y, title=title)
    ax.grid(visible=False)
    fig.colorbar(image, label=of)
    plt.show()


example = "they fish the red fish"
_, logits = tagger.apply(tagger_params, None, jnp.array(words.encode(example)))
probability = jax.nn.softmax(logits).T
heat_map(
    probability,
    example.split(),
    TAGS,
    "One word, two tags: the state decides",
    x="word",
    y="tag",
    of="probability",
)
assert [TAGS[i] for i in probability.argmax(0)] == [
    "pronoun",
    "verb",
    "article",
    "adjective",
    "noun",
]

# %% [markdown]
# ## One to many: a melody from one note
#
# The input is one note and an instrument. The output is a melody: the network writes a note, reads it as the next input,
# and continues. A `jrnn.Bridge` maps the instrument to the initial state $h_0$. The melody of the *flute* is a rising major
# scale, and that of the *bass* goes down a minor chord and up again. To describe an image in words is a task of the same
# shape: features of the image take the place of the instrument.

# %%
STEPS = {"flute": [2, 2, 1, 2, 2, 2, 1], "bass": [-5, -4, -3, 3, 4, 5, 0]}
LOWEST, HIGHEST, LENGTH = 36, 84, 7  # MIDI numbers of the notes


def melody(note, instrument):
    """Returns the notes after the first one."""
    return note + np.cumsum(STEPS[instrument])


firsts = np.arange(54, 72)
notes = np.repeat(firsts, 2)
instruments = np.tile([0, 1], len(firsts))
targets = np.array(
    [melody(n, list(STEPS)[i]) for n, i in zip(notes, instruments, strict=True)]
)
music_data = tuple(map(jnp.array, (notes - LOWEST, instruments, targets - LOWEST)))

player = jrnn.Sequential(
    jrnn.Embed(HIGHEST - LOWEST, 16),
    jrnn.Recurrent(jrnn.GRU(48)),
    jrnn.Dense(HIGHEST - LOWEST),
)
bridge = jrnn.Bridge(player)


def initial(params, instruments):
    return bridge.apply(params[1], params[0], jax.nn.one_hot(instruments, 2))


def music_loss(params, batch, key):
    first, instruments, target = batch
    read = jnp.concatenate([first[:, None], target[:, :-1]], axis=1)
    state = initial(params, instruments)
    _, logits = player.apply(params[0], state, read, key=key)
    return training.cross_entropy(logits, target)


player_params = player.init(jax.random.key(0))
start = player_params, bridge.init(jax.random.key(1), 2, player_params)
music_params, _ = train(music_loss, start, music_data, 200 if FAST else 400)

first, instruments, target = music_data
_, written = jrnn.generate(
    player,
    music_params[0],
    initial(music_params, instruments),
    first[:, None],  # one note each; the network reads its own notes after it
    LENGTH,
)
right = float(jnp.mean(jnp.all(written == target, axis=1)))
print(f"melodies without a wrong note: {right:.1%} of {len(first)}")
assert right > 0.9

# %% [markdown]
# The picture shows two melodies that start at the same note. Only the initial state is different.

# %%
fig, ax = plt.subplots(figsize=(6.4, 3))
row = 2 * (60 - int(firsts[0]))
for shift, (name, marker) in enumerate(zip(STEPS, "os", strict=True)):
    line = np.asarray(jnp.append(first[row + shift], written[row + shift])) + LOWEST
    ax.step(range(LENGTH + 1), line, where="mid", marker=marker, label=name)
ax.plot(0, 60, "*", color="black", ms=12, label="input: one note")
ax.set(xlabel="step", ylabel="note (MIDI number)")
ax.set_title("One note and an instrument become a melody")
ax.legend()
plt.show()

# %% [markdown]
# ## Many to many, another length: translation
#
# A translation often has another length than its source, and another order, so a word may depend on later words of the
# source. An *encoder* reads the whole source first. Its final state is the initial state of a *decoder*, which writes word
# by word until it writes `<eos>`, the end of the sentence. Here short English sentences are translated to French.
# Adjectives move behind the noun, and *of the* becomes *du*. Speech to text is a task of the same shape.

# %%
NOUN = {
    "cat": "chat", "dog": "chien", "king": "roi", "bird": "oiseau",
    "baker": "boulanger", "garden": "jardin", "boat": "bateau", "forest": "bois",
}  # fmt: skip
ADJECTIVE = {
    "black": "noir", "white": "blanc", "red": "rouge", "blind": "aveugle",
    "wise": "sage", "calm": "calme",
}  # fmt: skip
VERB = {"sees": "voit", "hears": "entend", "follows": "suit", "paints": "peint"}


def phrase(many):
    """Returns a noun phrase in both languages, and where each French word is from."""
    adjectives = rng.choice(list(ADJECTIVE), rng.integers(0, many + 1), replace=False)
    noun = rng.choice(list(NOUN))
    n = len(adjectives)
    english = ["the", *adjectives, noun]
    french = ["le", NOUN[noun], *(ADJECTIVE[a] for a in adjectives)]
    places = [0, n + 1, *range(1, n + 1)]
    if rng.random() < 0.4:
        owner = rng.choice(list(NOUN))
        english += ["of", "the", owner]
        french += ["du", NOUN[owner]]
        places += [n + 2, n + 4]
    return english, french, places


def pair(many=2):
    """Returns a sentence in both languages, and where each French word is from."""
    verb = rng.choice(list(VERB))
    english, french, places = phrase(many)
    after = len(english) + 1
    more = phrase(many)
    places = [*places, after - 1, *(after + p for p in more[2])]
    return [*english, verb, *more[0]], [*french, VERB[verb], *more[1]], places


pairs = [pair() for _ in range(4400)]
english = Vocabulary.build([" ".join(e) for e, _, _ in pairs], "words")
french = Vocabulary.build([" ".join(f) for _, f, _ in pairs], "words")
source, source_lengths = pad([english.encode(" ".join(e)) for e, _, _ in pairs])
target, target_lengths = pad(
    [french.encode(" ".join(f), end=True) for _, f, _ in pairs],
    value=french.id("<eos>"),
)
translations = tuple(map(jnp.array, (source, source_lengths, target, target_lengths)))
fit_on, held_out = (
    tuple(a[s] for a in translations) for s in (np.s_[:4000], np.s_[4000:])
)
print(" ".join(pairs[0][0]), "->", " ".join(pairs[0][1]))
print(f"source: {source_lengths.min()} to {source_lengths.max()} words")
print(f"target: {target_lengths.min() - 1} to {target_lengths.max() - 1} words")
assert np.any(source_lengths != target_lengths - 1)

# %% [markdown]
# The two models differ in one layer. Without attention, the decoder gets only the final state of the encoder. With
# attention, every step of the decoder compares its state $s_t$ with all outputs $h_1, \dots, h_S$ of the encoder, and reads
# their weighted mean $c_t$:
#
# $$\alpha_{tj} = \mathrm{softmax}_j\big(v^\top \tanh(W s_t + U h_j)\big), \qquad c_t = \sum_j \alpha_{tj} h_j.$$
#
# In training, the decoder reads the true word before instead of the word that it wrote. This is called *teacher forcing*.

# %%
SIZE = 32


def translator(attention):
    """Returns an encoder and a decoder."""
    attend = [jrnn.Attention(SIZE, memory_size=SIZE)] if attention else []
    return jrnn.EncoderDecoder(
        encoder=jrnn.Sequential(
            jrnn.Embed(len(english), 24), jrnn.Recurrent(jrnn.GRU(SIZE))
        ),
        decoder=jrnn.Sequential(
            jrnn.Embed(len(french), 24),
            jrnn.Recurrent(jrnn.GRU(SIZE)),
            *attend,
            jrnn.Dense(len(french)),
        ),
        start=french.id("<eos>"),
    )


def translator_loss(model):
    def loss(params, batch, key):
        source, lengths, target, target_lengths = batch
        logits = model.apply(params, source, target, lengths=lengths, key=key)
        return training.cross_entropy(logits, target, valid(target, target_lengths))

    return loss


def right_words(model, params, data):
    """Returns the fraction of right words in each translation."""
    source, lengths, target, target_lengths = data
    steps, end = target.shape[1], french.id("<eos>")
    found = model.generate(params, source, steps, lengths=lengths, end=end)
    counted = valid(target, target_lengths)
    return np.asarray(jnp.sum(counted & (found == target), 1) / target_lengths)


updates = 120 if FAST else 300
curves, right, learned = {}, {}, {}
for name in ("without attention", "with attention"):
    model = translator(name == "with attention")
    learned[name], curves[name] = train(
        translator_loss(model), model.init(jax.random.key(0)), fit_on, updates
    )
    right[name] = right_words(model, learned[name], held_out)
    whole = np.mean(right[name] == 1)
    print(
        f"{name}: {right[name].mean():.1%} of the words, {whole:.1%} of the sentences"
    )
assert right["with attention"].mean() > 0.9
assert right["without attention"].mean() < right["with attention"].mean() - 0.1

# %% [markdown]
# After the same number of updates, the model with attention is better at every length of the source. In the picture,
# compare the two lines: each point is a mean over the sentences of that length that were not in training.

# %%
size = np.asarray(held_out[1])
edges = [(5, 7), (8, 9), (10, 11), (12, 17)]
by_length = {
    name: [fraction[(size >= a) & (size <= b)].mean() for a, b in edges]
    for name, fraction in right.items()
}
fig, ax = plt.subplots(figsize=(6.4, 3))
for (name, curve), marker in zip(by_length.items(), "os", strict=True):
    ax.plot(curve, marker=marker, label=name)
ax.set_xticks(range(len(edges)), [f"{a} to {b}" for a, b in edges])
ax.set(
    xlabel="length of the source (words)",
    ylabel="fraction of right words",
    ylim=(0, 1.05),
)
ax.set_title("Attention helps at every length")
ax.legend()
plt.show()
pairs_of_bins = zip(
    by_length["without attention"], by_length["with attention"], strict=True
)
assert all(without < attending - 0.1 for without, attending in pairs_of_bins)

# %% [markdown]
# Which words does the decoder attend to? The weights $\alpha_{tj}$ of one sentence show the change of order. Each row of the
# picture is a word of the translation, and its dark cell is the word of the source with the largest weight. The noun is
# written first, so its dark cell is to the right of that of the adjective. We made the sentences, so for each word of the
# translation we know its word in the source, and can count how often the largest weight is there.

# %%
model, params = translator(True), learned["with attention"]


def attention_weights(source, lengths, target):
    """Returns the weights [rows, target, source] when the decoder writes the target."""
    decoder, state = model.encode(params, source, lengths=lengths)
    below = jrnn.Sequential(*model.decoder.layers[:2])
    read = jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=model.start)
    _, queries = below.apply(decoder[:2], state[:2], read)
    return model.decoder.layers[2].weights(decoder[2], queries)


weights = np.asarray(attention_weights(*held_out[:3]))
hits = [
    weights[row, t].argmax() == place
    for row, (_, _, places) in enumerate(pairs[4000:])
    for t, place in enumerate(places)
    if pairs[4000 + row][1][t] not in ("le", "du")
]
print(f"nouns, adjectives and verbs that attend to their source: {np.mean(hits):.1%}")
assert np.mean(hits) > 0.8

row = next(
    r
    for r, (e, _, _) in enumerate(pairs[4000:])
    if len(e) == 9 and right["with attention"][r] == 1
)
words_in, words_out = pairs[4000 + row][:2]
heat_map(
    weights[row, : len(words_out), : len(words_in)],
    words_in,
    words_out,
    "The decoder attends to the word that it translates",
    x="word of the source",
    y="word that is written",
    of="attention weight",
    rotation=40,
)

# %% [markdown]
# ## What to remember
#
# * `return_sequence=False` makes many to one; without it a layer is many to many. `jrnn.generate` makes one to many, and
#   `jrnn.EncoderDecoder` makes many to many of another length.
# * A state depends on the order of words, and a sum of words does not.
# * Without attention, the source has to fit into one state. With attention, each step reads all outputs of the encoder.
#
# Next: [words into vectors](09_words_into_vectors.ipynb). More: [cells and layers](../docs/cells.md).
