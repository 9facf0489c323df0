"""Section E of the drill: data and text."""

import codecs
import json
import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jrnn
from experiments.drill import launch
from experiments.drill.rows import Result, Row, attempt, count, refused
from experiments.errors import UserError
from experiments.tasks import corpus
from jrnn import training
from jrnn.text import UNK, Vocabulary, read_pieces
from jrnn.training.checkpoints import CheckpointError, Checkpoints

TEXT = "The quick brown fox jumps over the lazy dog.\n" * 60
SMALL = ["--hidden-size", "4", "--batch-size", "2", "--chunk", "5", "--samples", "0"]
SMALL += ["--embedding-size", "3", "--devices", "1"]
WRONG = (TypeError, ValueError)


def train(*words: str, **options: Any) -> launch.Ended:
    """Runs `train char_lm` to its end."""
    return launch.run("experiments", "train", "char_lm", *SMALL, *words, **options)


def short(folder: Path, quick: bool) -> Result:
    """Trains on texts that are empty or too short."""
    trials = []
    for number, text in enumerate(["", "a", "ab" * 5][: 1 if quick else None]):
        file = folder / f"{number}.txt"
        file.write_text(text)
        ended = train("--text", str(file), "--out", str(folder / "run"))
        said = ended.out + ended.err
        good = ended.code == 2 and "too short" in said and "compiling" not in said
        sizes = f"{corpus.border(len(text))} characters" in said and " 11 (" in said
        trials.append(None if good and sizes else f"exit code {ended.code}: {said}")
        if (folder / "run").exists():
            trials.append("a folder was made")
    return count(trials)


ODD = [
    "\N{SNAKE}\N{WOMAN}\u200d\N{PERSONAL COMPUTER}",
    "e\u0301 n\u0303 \u0928\u093f",
    "a\r\nb\rc\n\x85\u2028\u2029",
    "\x00\x01\x7f",
    "\ufeffa\ufeff",
    "\ud83d alone, \udc00",
    "<unk> <eos>",
    "\u202eabc",
    "\U0010ffff",
    " \t\v\f ",
]
BAD = b"\xff", b"\xc3(", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80"


def odd(folder: Path, quick: bool) -> Result:
    """Encodes and decodes odd texts, and reads files that are not UTF-8."""
    rng = random.Random(0)
    drawn = [
        "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(1, 30)))
        for _ in range(20 if quick else 500)
    ]

    def restored(text: str, unit: str) -> str | None:
        vocabulary = Vocabulary.build(text, unit)
        same = vocabulary.decode(vocabulary.encode(text)) == text
        return None if same else f"{text!r} changed"

    trials = [
        attempt(partial(restored, text, unit))
        for text in ODD + drawn
        for unit in ("characters", "bytes", "words")
    ]
    file = folder / "text.txt"
    for bad in BAD:
        for start in ("", "abc", "\N{SNAKE}" * 7, "a" * 99):
            for mark in (b"", codecs.BOM_UTF8):
                before = mark + start.encode()
                file.write_bytes(before + bad)
                said = f"at offset {len(before)} "
                trials.append(
                    refused(partial(corpus.read_text, file), UserError, said)
                    or refused(lambda: [*read_pieces(file, size=4)], ValueError, said)
                )
    return count(trials)


def unknown(folder: Path, quick: bool) -> Result:
    """Looks up characters that the vocabulary does not have."""
    del folder, quick
    known = "abc\n"
    with_unk = Vocabulary.build(known, specials=(UNK,))
    without = Vocabulary.build(known, specials=())
    trials = []
    for other in ("d", "\N{SNAKE}", "\x00", "A", "\ud800", "\u0300"):
        text = f"a{other}c"
        ids = with_unk.encode(text).tolist()
        expected = [with_unk.id("a"), with_unk.id(UNK), with_unk.id("c")]
        shown = with_unk.decode(ids) == "a\N{REPLACEMENT CHARACTER}c"
        trials.append(None if ids == expected and shown else f"{text!r} is {ids}")
        trials.append(refused(partial(without.encode, text), ValueError, repr(other)))
    return count(trials)


def out_of_range() -> Iterator[str | None]:
    """Looks up ids and labels that are negative or too large."""
    size = 4
    key = jax.random.key(0)
    model = jrnn.Sequential(
        jrnn.Embed(size, 3), jrnn.Recurrent(jrnn.GRU(2)), jrnn.Dense(size)
    )
    params = model.init(key)
    vocabulary = Vocabulary.build("abc", specials=(UNK,))
    logits = jnp.ones((2, 3, size))
    for bad in (-1, size, size + 5, -(2**31), 2**31 - 1):
        ids: Any = np.zeros((2, 3), np.int32)
        ids[1, 2] = bad
        said = str(bad), str(size), "[1, 2]"
        yield refused(partial(model.apply, params, None, ids), WRONG, *said)
        write: Any = partial(jrnn.generate, model, params, None, jnp.asarray(ids), 2)
        yield refused(write, WRONG, "id that is out of range")
        yield refused(partial(training.cross_entropy, logits, ids), WRONG, *said)
        yield refused(partial(training.accuracy, logits, ids), WRONG, *said)
        yield refused(partial(vocabulary.decode, ids), WRONG, str(bad), str(size))


def other_vocabulary(folder: Path, quick: bool) -> Result:
    """Puts the vocabulary of another run, or a changed one, into a run."""
    del quick
    own, other = Vocabulary.build("abcd"), Vocabulary.build("abce")
    with Checkpoints(folder / "own", {"vocabulary": own.sha256}) as store:
        store.save(1, {"w": np.ones(3)})
    with Checkpoints(folder / "own", {"vocabulary": other.sha256}) as store:
        restore = partial(store.restore, {"w": np.ones(3)})
        trials = [refused(restore, CheckpointError, "vocabulary")]
    changed = own.to_json().replace('"d"', '"e"')
    said = "was changed after it was written"
    trials.append(refused(partial(Vocabulary.from_json, changed), ValueError, said))
    run, file = folder / "run", folder / "text.txt"
    file.write_text(TEXT)
    ended = train("--text", str(file), "--out", str(run), "--stop-after", "20")
    trials.append(None if not ended.code else ended.err[-300:])
    config = json.loads((run / "config.json").read_text())
    saved = Vocabulary.from_json(config["data"]["saved"]["vocabulary"])
    tokens = (*saved.tokens[:-1], "\N{SNAKE}")
    swapped = Vocabulary(saved.unit, tokens, saved.counts, saved.specials)
    config["data"]["saved"]["vocabulary"] = swapped.to_json()
    (run / "config.json").write_text(json.dumps(config))
    for words in (["sample", str(run)], ["train", "char_lm", "--resume", str(run)]):
        ended = launch.run("experiments", *words)
        refused_it = ended.code == 2 and "error: " in ended.err
        trials.append(None if refused_it else f"{words[0]}: exit code {ended.code}")
    return count(trials)


def removed(folder: Path, quick: bool) -> Result:
    """Truncates or deletes the text while a run reads it."""
    del quick
    text, made, run = folder / "text.txt", folder / "text.tokens", folder / "run"
    text.write_text(TEXT * 200)
    ended = launch.run("experiments", "tokens", str(text))
    trials = [None if not ended.code else ended.err]
    good = made.read_bytes()
    words = ["train", "char_lm", *SMALL, "--text", str(made), "--out", str(run)]
    words += ["--steps", "1000000", "--save-minutes", "0.01"]
    began = time.monotonic()
    process = launch.start("experiments", *words)
    while not saved(run) and process.poll() is None and time.monotonic() < began + 200:
        time.sleep(0.2)
    os.truncate(made, len(good) // 2)
    ended = launch.end(process, began)
    told = str(made) in ended.err and "stopped at step" in ended.err
    trials.append(None if ended.code == 2 and told else f"{ended.code}: {ended.err}")
    steps = saved(run)
    trials.append(None if steps else "there is no checkpoint")
    again = ["train", "char_lm", "--resume", str(run), "--stop-after", str(10**6)]
    refused_it = launch.run("experiments", *again)
    trials.append(None if refused_it.code == 2 else f"resumed: {refused_it.code}")
    made.unlink()
    refused_it = launch.run("experiments", *again)
    gone = refused_it.code == 2 and str(made) in refused_it.err
    trials.append(None if gone else f"without the text: {refused_it.err}")
    made.write_bytes(good)
    more = ["--stop-after", str(max(steps, default=0) + 10)]
    ended = launch.run("experiments", *again[:-2], *more)
    trials.append(None if not ended.code else f"resumed: {ended.code}: {ended.err}")
    return count(trials)


def saved(run: Path) -> list[int]:
    """Returns the steps of the checkpoints of a run."""
    found = (run / "checkpoints").glob("step_*")
    return sorted(int(path.name.split("_")[1]) for path in found)


ROWS = (
    Row(
        49,
        "E",
        "an empty corpus, or one shorter than a window",
        "an error with both sizes, before compilation",
        short,
    ),
    Row(
        50,
        "E",
        "emoji, combining marks, CRLF, NUL, byte order marks, bad UTF-8",
        "decoding undoes encoding; bad UTF-8 is an error with its offset",
        odd,
    ),
    Row(
        51,
        "E",
        "an unknown character in a prompt",
        "<unk> or an error, never another character",
        unknown,
    ),
    Row(
        52,
        "E",
        "token ids and labels out of range",
        "an error on the host with position, value and size",
        lambda folder, quick: count(out_of_range()),
    ),
    Row(
        53,
        "E",
        "the vocabulary of another run",
        "refused",
        other_vocabulary,
    ),
    Row(
        54,
        "E",
        "a file that cannot be read, or is deleted, during training",
        "an error with its path; the checkpoint is safe",
        removed,
    ),
)
