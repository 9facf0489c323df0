"""Two tiny runs that differ in their seed, and a browser."""

import json
import shutil

import pytest

from experiments.run import train
from experiments.tasks.char_lm import TASK, CharOptions
from tests.report.browser import Browser, find

# A text that is HTML too: the page must show it, and not become it.
HTML = "<b>one</b></script><script>window.boom = 1</script><img src=x>"
TEXT = f'{HTML} (two) "Three" &amp; four.\n' * 60


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Folders of two finished runs; the second one is a copy with another seed."""
    folder = tmp_path_factory.mktemp("runs")
    file = folder / "text.txt"
    file.write_text(TEXT)
    options = CharOptions(
        text=file,
        steps=30,
        out=folder / "first",
        hidden_size=6,
        layers=2,
        embedding_size=5,
        batch_size=4,
        chunk=9,
        clip=0.05,
        samples=2,
        devices="1",
    )
    assert train.run(TASK, options) == 0
    second = folder / "second"
    shutil.copytree(options.out, second)
    config = json.loads((second / "config.json").read_text())
    config["options"]["seed"] = 1
    config["data"]["name"] = HTML
    (second / "config.json").write_text(json.dumps(config))
    result = json.loads((second / "result.json").read_text())
    (second / "result.json").write_text(json.dumps(result | {"words": HTML}))
    rows = (second / "metrics.jsonl").read_text().splitlines()
    changed = [json.loads(row) for row in rows]
    for row in changed:
        row["loss"] += 0.5
    (second / "metrics.jsonl").write_text("\n".join(map(json.dumps, changed)) + "\n")
    return options.out, second


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium; tests that need it are skipped where there is none."""
    if find() is None:
        pytest.skip("there is no Chromium here: install `chromium` to run this test")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
