"""Continues a text with a trained model."""

import sys

import jax

from experiments.char_lm import model as models, run_folder, terminal
from experiments.char_lm.config import Sample
from experiments.errors import UserError
from jrnn.interop import files


def run(how: Sample) -> int:
    """Prints the prime and the text that the model generates.

    Raises:
      UserError: If the run cannot be used.
    """
    config, _, vocabulary = run_folder.read(how.run)
    if how.prime == "":
        raise UserError(
            "--prime is empty: give at least one character, such as a space."
        )
    model = models.build(config, len(vocabulary))
    template = jax.eval_shape(model.init, jax.random.key(0))
    weights = how.run / "weights.safetensors"
    try:
        params, facts = run_folder.load(weights, template)
    except OSError as error:
        raise UserError(
            f"{weights}: {error.strerror}. The run has not saved a model yet."
        ) from None
    except files.FileError as error:
        raise UserError(str(error)) from None
    if facts["vocabulary"] != vocabulary.sha256:
        raise UserError(f"{weights} and config.json have different vocabularies.")
    unknown = vocabulary.unknown(how.prime or "")
    if unknown:
        print(
            f"warning: not in the vocabulary, read as <unk>: {unknown!r}",
            file=sys.stderr,
        )
    text = models.write(model, params, vocabulary, how)
    if sys.stdout.isatty():
        text = "\n".join(map(terminal.printable, text.split("\n")))
    print(text)
    return 0
