"""The options of a tiny run; the same everywhere, so that it compiles once."""

import pytest

from experiments.tasks.char_lm import CharOptions
from tests.experiments.runs import TEXT, start


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "fox.txt"
    file.write_text(TEXT)
    return file


@pytest.fixture
def tiny(text, tmp_path):
    """Options of a run of 40 updates that takes a moment; the same for all tests."""
    return options(text, tmp_path / "run")


def options(text, out):
    return CharOptions(
        text=text,
        steps=40,
        out=out,
        hidden_size=5,
        embedding_size=3,
        batch_size=4,
        chunk=7,
        learning_rate=0.02,
        dropout=0.1,
        devices="2",
        samples=0,
    )


@pytest.fixture(scope="session")
def finished(text, tmp_path_factory):
    """The folder of a finished run of 40 updates, which tests only read."""
    return start(options(text, tmp_path_factory.mktemp("finished") / "run"))
