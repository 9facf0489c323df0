"""The box that answers texts in the page, by an encoder and a decoder."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.report import page, program, records
from experiments.run import folder, train
from experiments.tasks import addition, dates
from jrnn.sequences import pad
from jrnn.text import Vocabulary
from tests.experiments.tiny import tiny

TOLERANCE = 1e-3
TEXTS = {
    "dates": ["3 mai 2007", "2007-04-03", "\u20ac", "07/04/03 " * 9],
    "addition": ["5+7", "9", "1+2+3+4", ""],
}


def numbers(task, text, saved, translator):
    """The ids of a text, without the program of the page."""
    if task.name == "dates":
        vocabulary = Vocabulary.from_json(saved["vocabulary"])
        return vocabulary.encode(text)[: translator.width]
    return np.array([addition.SYMBOLS.index(c) for c in text[: translator.width]])


@functools.partial(jax.jit, static_argnums=0)
def answered(model, params, source, lengths):
    """The symbols of a date, and the weights of its attention."""
    found = model.generate(params, source, dates.WIDTH, lengths=lengths)
    return found, dates.look(model, params, source, lengths, found)


def expected(task, model, params, saved, text, translator):
    """The greedy answer of JAX, and the weights of its attention."""
    ids = numbers(task, text, saved, translator)
    if task.name == "dates":
        source, lengths = pad([ids], length=translator.width)  # compiled once
        found, weights = answered(model, params, source, lengths)
        symbols = "".join(dates.SYMBOLS[i] for i in found[0].tolist())
        return symbols, weights[0, :, : len(ids)]
    source = np.full((1, translator.width), addition.SYMBOLS.index(" "))
    source[0, : len(ids)] = ids[::-1]
    lengths = jnp.array([len(ids)])
    found = model.generate(
        params, jnp.asarray(source), saved["width"], lengths=lengths, end=addition.END
    )
    text = "".join(addition.SYMBOLS[i] for i in found[0].tolist())
    return text.partition("$")[0], None


@pytest.mark.parametrize("name", ["dates", "addition"])
def test_a_page_answers_as_jax_does(name, browser, tmp_path):
    task, options = tiny(name, tmp_path)
    assert train.run(task, options) == 0
    file = tmp_path / "report.html"
    file.write_text(page.report([records.read(options.out)], best=True))
    run, model, params = folder.trained(options.out, best=True)
    translator = task.translator(options, model, params, run.data.saved)
    browser.console.clear()
    for width, dark in [(390, True), (1280, False)]:
        browser.open(file, width, dark=dark)
        overflow = "document.documentElement.scrollWidth - innerWidth"
        assert browser.evaluate(overflow) <= 0
    assert "weights of the best" in browser.evaluate("document.body.innerText")
    first = browser.evaluate("asked.value")
    assert first == translator.examples[0]
    for text in [first, *filter(None, TEXTS[name])]:
        given = run.data.saved, text, translator
        answer, weights = expected(task, model, params, *given)
        browser.evaluate(
            f"asked.value = {json.dumps(text)}; asked.dispatchEvent(new Event('input'))"
        )
        assert browser.evaluate("answered.textContent") == answer
        found = browser.evaluate(
            f"report.translators[0].answer({json.dumps(text)}).weights"
        )
        if weights is None:
            assert found is None
        else:
            np.testing.assert_allclose(found, weights, atol=TOLERANCE)
            cells = browser.evaluate("document.querySelectorAll('#looked td').length")
            assert cells == weights.size
    browser.evaluate("asked.value = ''; asked.dispatchEvent(new Event('input'))")
    assert browser.evaluate("answered.textContent") == ""
    errors = [line for line in browser.console if not line.startswith("info: [bokeh")]
    assert errors == []


def test_loops_run_in_a_page(browser, tmp_path):
    weights = jnp.linspace(-1, 1, 12).reshape(3, 4)

    def function(xs, start):  # what is read from outside, carried, stacked, nested
        outside = jnp.tanh(start @ weights)

        def inner(carry, x):
            return carry * 0.5 + x, carry > 1

        def body(carry, x):
            h, count = carry
            total, flags = jax.lax.scan(inner, h[0], x, reverse=True)
            h = jnp.tanh(h + outside + total)
            return (h, count + 2), (h[1:3], jnp.any(flags), jnp.pad(x, (1, 2)))

        return jax.lax.scan(body, (outside * 2, jnp.int32(3)), xs, reverse=True)

    xs = np.linspace(-2, 3, 10, dtype=np.float32).reshape(5, 2)
    start = np.array([0.3, -0.8, 0.9], np.float32)
    content = program.export_function(function, xs, start)
    runs = {"title": "loops", "runs": [], "program": content}
    file = tmp_path / "loops.html"
    file.write_text(page.render(runs, page.SAMPLER[:2], bokeh=False))
    browser.call("Page.navigate", url=file.resolve().as_uri())
    browser.wait("document.readyState === 'complete' && typeof Program === 'function'")
    arrays = [
        f"{{ shape: {list(a.shape)}, kind: 'f', data: Float32Array.of("
        f"{', '.join(map(str, a.ravel().tolist()))}) }}"
        for a in (xs, start)
    ]
    content = "JSON.parse(document.getElementById('content').textContent).program"
    found = browser.evaluate(
        f"Program({content}).run([{', '.join(arrays)}]).map(a => Array.from(a.data))"
    )
    for mine, its in zip(found, jax.tree.leaves(function(xs, start)), strict=True):
        np.testing.assert_allclose(mine, np.ravel(its), rtol=1e-5)
