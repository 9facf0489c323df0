"""Tags of source code, and the score of overlapping windows."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import tasks
from experiments.errors import UserError
from experiments.tasks import code_tags, library
from tests.experiments.tiny import CODE

TASK = tasks.find("code_tags")
SOURCE = '''\
if a is not None:\x0c
\tb1 += 0x1F - f(.5, "#'")  # a "b"
"""two
lines""" ; print()
'''
EXPECTED = """\
KK N KK KKK KKKK.
 NN .. 0000 . N.00. \"\"\"\".  #######
\"\"\"\"\"\"
\"\"\"\"\"\"\"\" . NNNNN..
"""


@pytest.fixture
def options(tmp_path):
    for n, code in enumerate(CODE):
        (tmp_path / f"{n}.py").write_text(code)
    (tmp_path / "wrong.py").write_text("def (:")
    (tmp_path / "latin.py").write_bytes(b"a = '\xfc'")
    return TASK.options(
        folder=tmp_path, length=6, embedding_size=3, hidden_size=5, held_out=2
    )


def test_characters_have_the_tag_of_their_token():
    found = "".join(library.SIGNS[n] for n in library.tags_of(SOURCE))
    shown = [line.rstrip() for line in EXPECTED.splitlines()]
    first = 0
    for line, signs in zip(SOURCE.split("\n"), shown, strict=False):
        assert found[first : first + len(line)].rstrip() == signs, line
        first += len(line) + 1


def test_strings_with_values_are_tagged():
    found = "".join(library.SIGNS[n] for n in library.tags_of("x = f'a{b}c' + d\n"))
    assert found.startswith("N . ") and found.rstrip().endswith(" . N")
    assert found[4:7] == '"""' and found[10:12] == '""'


def test_files_that_are_not_python_are_left_out(options):
    assert [text for text, _ in library.modules(options.folder)] == list(CODE)


def test_a_folder_without_code_is_an_error(tmp_path):
    with pytest.raises(UserError, match="has 0 files of Python source code"):
        TASK.load(TASK.options(folder=tmp_path / "none"))


def test_a_window_that_is_too_long_is_an_error(options):
    with pytest.raises(UserError, match="too few for --length 999"):
        TASK.load(TASK.options(folder=options.folder, length=999))


def test_modules_that_are_scored_are_not_in_training(options):
    data = TASK.load(options)
    sizes = sorted(map(len, CODE))
    both = data.arrays.shape[1] + data.held_out.shape[1]
    assert both == sum(sizes) and data.held_out.shape[1] in sizes


def test_the_baseline_is_the_most_frequent_tag_of_each_character(options):
    data = TASK.load(options)
    tags = collections.defaultdict(collections.Counter)
    for character, tag in data.arrays.T.tolist():
        tags[character][tag] += 1
    right = [
        tags[character].most_common(1)[0][0] == tag if tags[character] else tag == 0
        for character, tag in data.held_out.T.tolist()
    ]
    assert 0 < np.mean(right) < 1
    (found,) = data.baselines.values()
    assert found["accuracy"] == pytest.approx(np.mean(right))


def test_every_character_is_scored_once_with_context_on_both_sides(options):
    data = TASK.load(options)
    model = TASK.model(options, data.saved)
    params = TASK.init(model, jax.random.key(0))
    ids, tags = data.held_out
    right, nats, size = [], [], options.length
    for first in range(0, len(ids), size):
        place = np.arange(first - size // 2, first + 2 * size - size // 2)
        inside = (place >= 0) & (place < len(ids))
        read = np.where(inside, ids[np.clip(place, 0, len(ids) - 1)], 0)
        logits = model.apply(params, None, jnp.asarray(read[None]))[1][0]
        losses = -np.asarray(jax.nn.log_softmax(logits))
        for n in range(size):
            if first + n < len(ids):
                tag = tags[first + n]
                right.append(losses[size // 2 + n].argmin() == tag)
                nats.append(losses[size // 2 + n, tag])
    score = TASK.score(options, model, params, data, lambda fraction: None)
    assert score.figures["accuracy"] == pytest.approx(np.mean(right))
    assert score.figures["nats"] == pytest.approx(np.mean(nats), rel=1e-5)


def test_a_reading_has_an_answer_for_each_character(options):
    data = TASK.load(options)
    model = TASK.model(options, data.saved)
    params = TASK.init(model, jax.random.key(0))
    found = TASK.reading(options, model, params, data)
    size = data.held_out.shape[1]
    assert len(found.tokens) == size and found.symbols == list(library.TAGS)
    np.testing.assert_array_equal(found.answers, data.held_out[1])
    assert found.logits.shape == (size, len(library.TAGS))
    assert [*found.layers] == ["layer 1"]
    assert found.layers["layer 1"].shape == (size, 10)


def test_lines_of_code_are_shown_above_their_signs(options):
    data = TASK.load(options)
    model = TASK.model(options, data.saved)
    params = TASK.init(model, jax.random.key(0))
    lines = TASK.show(model, params, data.saved, 0, short=True).splitlines()
    assert lines[1::2] == code_tags.SHORT.splitlines()
    assert all(set(signs) <= set(library.SIGNS) for signs in lines[2::2])
