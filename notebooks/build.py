"""Runs the notebooks: `python -m notebooks.build`.

The sources are the percent scripts `NN_name.py`. Each is converted to `NN_name.ipynb` and
run from top to bottom. A failed assert stops the build. `--fast` uses small sizes (the
scripts read JRNN_FAST), `--check` writes nothing, and names select notebooks.
"""

import argparse
import os
import pathlib

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).parent
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def build(source: pathlib.Path, *, check: bool) -> None:
    """Runs one notebook and, unless `check`, writes it with its outputs."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3").execute(
        cwd=str(FOLDER.parent)
    )
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random ids would change in every build
        cell.metadata.pop("execution", None)  # the time would change too
    notebook.metadata.pop("widgets", None)
    if not check:
        nbformat.write(notebook, source.with_suffix(".ipynb"))
    print(f"{source.name}: ran{'' if check else ' and written'}", flush=True)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of names; default: all")
    parser.add_argument("--fast", action="store_true", help="small sizes")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    os.environ["JRNN_FAST"] = "1" if options.fast else ""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    )
    for source in SOURCES:
        if not options.names or any(name in source.name for name in options.names):
            build(source, check=options.check)


if __name__ == "__main__":
    main()
