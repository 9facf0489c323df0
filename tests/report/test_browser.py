"""The report in a real browser: it loads, its parts work, its numbers are JAX's."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jrnn
from experiments.report import page, program, records, sampler_page
from experiments.run import folder, models
from experiments.run.options import Options
from tests.report.conftest import HTML

# Elman, GRU and LSTM, alone and in stacks; and what is not a gate: a wrapper, a matrix
# as state, complex numbers, a parametrization that is computed before.
CELLS = ["elman", "gru", "lstm", "multihead(gru)", "mlstm", "s5", "orthogonal(elman)"]
IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5]
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def shown(runs, browser, tmp_path_factory):
    """The page of both runs, open in a narrow dark window, then in a wide light one."""
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page.report([records.read(path) for path in runs]))
    browser.console.clear()
    browser.requests.clear()
    for width, dark in [(390, True), (1280, False)]:
        browser.open(file, width, dark=dark)
        overflow = "document.documentElement.scrollWidth - innerWidth"
        assert browser.evaluate(overflow) <= 0
    return browser


def clean(browser):
    return [line for line in browser.console if not line.startswith("info: [bokeh")]


def test_it_loads_without_an_error_and_without_a_network(shown):
    assert clean(shown) == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in shown.requests)
    titles = shown.evaluate(
        "[...document.querySelectorAll('h2')].map(h => h.innerText)"
    )
    expected = ["Held-out score", "Training", "Samples over training", "Live sampler"]
    assert titles == [*expected, "Surprise", "Units", "Gradient against lag"]
    assert shown.evaluate("document.title").startswith("char_lm")
    assert shown.evaluate("document.querySelectorAll('.bk-Figure').length") == 3


def test_the_slider_shows_every_sample(shown, runs):
    rows = [json.loads(r) for r in (runs[0] / "samples.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        shown.evaluate(
            f"slider.value = {number}; slider.dispatchEvent(new Event('input'))"
        )
        caption, text = shown.evaluate("[caption.textContent, sample.textContent]")
        assert caption == f"After {row['step']} updates: {row['words']}"
        assert text == row["text"]


def test_pointing_at_a_character_shows_what_was_expected(shown):
    span = "document.querySelector('#surprise .text span:nth-child(9)')"
    shown.evaluate(f"{span}.scrollIntoView({{block: 'center'}})")
    x, y = shown.evaluate(f"(r => [r.x + 2, r.y + 2])({span}.getBoundingClientRect())")
    shown.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    shown.wait("!document.getElementById('hint').hidden")
    text = shown.evaluate("document.getElementById('hint').innerText")
    reading = "report.content.runs[0].reading"
    nats, chances = shown.evaluate(f"[{reading}.nats[8], {reading}.chances[8]]")
    percent = [float(number) for number in re.findall(r"([\d.]+) %", text)]
    expected = [100 * np.exp(-nats), *(100 * np.array(chances))]
    np.testing.assert_allclose(percent, expected, atol=0.06, rtol=0.06)
    shown.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    shown.wait("document.getElementById('hint').hidden")


def test_units_are_ranked_and_color_the_text(shown):
    units = "report.content.runs[0].reading.units"
    count = shown.evaluate(f"{units}.features.length")
    spans = "[...document.querySelectorAll('#units .text span')]"
    colors = f"{spans}.map(span => span.style.background)"
    before = shown.evaluate(colors)
    other = (shown.evaluate("Number(feature.value)") + 1) % count
    shown.evaluate(
        f"feature.value = {other}; feature.dispatchEvent(new Event('change'))"
    )
    ranked = shown.evaluate("[...unit.options].map(o => Number(o.value))")
    r = np.array(shown.evaluate(f"{units}.r"))[:, other]
    assert sorted(-np.abs(r[ranked])) == list(-np.abs(r[ranked]))
    assert shown.evaluate(colors) != before and len(ranked) == 12


def test_the_sampler_writes_with_probabilities_of_jax(shown, runs):
    _, model, params = folder.trained(runs[0])
    vocabulary = jrnn.text.Vocabulary.from_json(
        folder.read(runs[0]).data.saved["vocabulary"]
    )
    prime = "<b>one\u20ac"  # the last one is <unk>
    _, logits = model.apply(params, None, jnp.asarray(vocabulary.encode(prime)[None]))
    unk = vocabulary.id("<unk>")
    for temperature, k in [(1, 0), (0.5, 0), (1.3, 4), (0, 0)]:
        wide = np.asarray(logits[0, -1], np.float64) / (temperature or 1e-9)
        wide[unk] = -np.inf
        if k:
            wide[np.argsort(-wide)[k:]] = -np.inf
        expected = np.exp(wide - wide.max())
        call = f"({json.dumps(prime)}, '', {temperature}, {k})"
        found = shown.evaluate(f"report.samplers[0].probabilities{call}")
        np.testing.assert_allclose(found, expected / expected.sum(), atol=TOLERANCE)
    for code in ("prime.value = '<b>'", "document.getElementById('length').value = 50"):
        shown.evaluate(code)
    shown.evaluate("document.getElementById('topk').value = 1; write.click()")
    shown.wait("write.textContent === 'Write'")
    greedy = jrnn.generate(model, params, None, vocabulary.encode("<b>")[None], 50)[1]
    written = shown.evaluate("written.textContent")
    assert written == "<b>" + vocabulary.decode(np.asarray(greedy[0]))
    assert clean(shown) == []


def test_another_run_is_shown_when_it_is_chosen(shown, runs):
    shown.evaluate("pick.value = 1; pick.dispatchEvent(new Event('change'))")
    shown.wait("report.samplers[1] !== undefined")
    settings = shown.evaluate("document.querySelector('dl').textContent")
    assert "seed1" in settings and clean(shown) == []
    assert HTML in shown.evaluate("pick.selectedOptions[0].textContent")
    assert HTML in shown.evaluate("write.closest('section').textContent")
    assert shown.evaluate("window.boom === undefined && !document.querySelector('img')")


def test_cells_of_every_kind_run_in_a_page(browser, tmp_path):
    made, expected = [], {}
    for cell in CELLS:
        layers = 2 if cell in ("elman", "gru", "lstm") else 1
        options = Options(cell=cell, hidden_size=8, layers=layers, method="scan")
        model = jrnn.Sequential(
            jrnn.Embed(11, 6), *models.recurrent(options), jrnn.Dense(11)
        )
        params = jax.tree.map(lambda a: a + 0.05, model.init(jax.random.key(1)))
        start = model.initial_state(params, (1,))

        def step(state, token, model=model, params=params):
            state, logits = model.apply(params, state, token.reshape(1, 1))
            return state, logits[0, 0]

        other = jax.tree.map(lambda a: a + 0.3, start)
        content = program.export(step, {"": start, "other": other})
        facts = {"unit": "characters", "prime": [3], "banned": [], "end": None}
        facts |= {"program": content, "symbols": [*"abcdefghijk"]}
        about = {"name": cell, "model": cell, "data": "none", "words": ""}
        made.append({**about, "trained": "", "command": "", "generator": facts})
        _, logits = model.apply(params, other, jnp.array([IDS]))
        expected[cell] = np.asarray(jax.nn.softmax(logits[0, -1]))
        if cell == "lstm":
            half = program.export(step, {"other": other}, limit=0)
            assert half["precision"] == "float16"
            short = {**about, "name": "half", "trained": "", "command": ""}
            made.append({**short, "generator": {**facts, "program": half}})
            expected["half"] = expected[cell]
    file = tmp_path / "cells.html"
    content = {"title": "cells", "runs": made}
    file.write_text(page.render(content, page.SAMPLER, bokeh=False))
    browser.console.clear()
    browser.open(file)
    text = "".join("abcdefghijk"[i] for i in IDS)
    for run in made:
        code = "Sampler(report.content.runs.find(run => run.name === {}).generator)"
        found = browser.evaluate(
            f"{code.format(json.dumps(run['name']))}.probabilities('{text}', 'other')"
        )
        close = TOLERANCE if run["name"] == "half" else 1e-5
        np.testing.assert_allclose(found, expected[run["name"]], atol=close)
    assert clean(browser) == []


def test_a_cell_that_cannot_run_is_named(browser, tmp_path):
    run = {"name": "x", "model": "x", "data": "d", "words": "", "trained": ""}
    run |= {"command": "", "generator": {"refused": "the cell x cannot run here: sort"}}
    file = tmp_path / "refused.html"
    content = {"title": "refused", "runs": [run]}
    file.write_text(page.render(content, page.SAMPLER, bokeh=False))
    browser.open(file)
    text = browser.evaluate("document.body.innerText")
    assert "Not available: the cell x cannot run here: sort." in text


def test_the_page_of_a_sampler_writes(browser, runs, tmp_path):
    file = tmp_path / "sampler.html"
    file.write_text(sampler_page(runs[0]))
    browser.console.clear()
    browser.open(file, 390, dark=True)
    browser.evaluate("document.getElementById('length').value = 20; write.click()")
    browser.wait("written.textContent.length === 20")
    assert clean(browser) == []
