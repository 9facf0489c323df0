"""Runs the notebooks: `python -m notebooks.build`.

The sources are the percent scripts `NN_name.py`. Each is converted to `NN_name.ipynb` and
run from top to bottom. A failed assert stops the build. `--fast` uses small sizes (the
scripts read JRNN_FAST). `--check` writes nothing: it runs each script as a program, and
compares its cells with those of the notebook beside it. Names select notebooks.
"""

import argparse
import base64
import io
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterable

import jupytext
import nbclient
import nbformat
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
LARGEST = 300_000  # bytes of a notebook with its outputs


def build(source: pathlib.Path) -> None:
    """Runs one notebook, and writes it with its outputs."""
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
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _smaller(output.data["image/png"])
        cell["id"] = f"cell-{number}"  # random ids would change in every build
        cell.metadata.pop("execution", None)  # the time would change too
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, source.with_suffix(".ipynb"))


def _smaller(picture: str) -> str:
    """Returns a PNG in base64 with a palette of 256 colors, at a third of the size."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    written = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(written, "png", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def check(source: pathlib.Path) -> None:
    """Runs one script as a program, without a window for its figures."""
    command = [sys.executable, "-W", "ignore:FigureCanvasAgg", str(source)]
    environment = {**os.environ, "MPLBACKEND": "agg"}
    if os.environ.get("JRNN_FAST"):  # most of the time is spent in the compiler
        environment.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    subprocess.run(command, check=True, cwd=FOLDER.parent, env=environment)


def problems(source: pathlib.Path) -> list[str]:
    """Returns what is wrong with the notebook of a script; nothing runs."""
    target = source.with_suffix(".ipynb")
    if not target.exists():
        return [f"{target.name} is missing: run `python -m notebooks.build`."]
    found = []
    size = target.stat().st_size
    if size > LARGEST:
        found.append(f"{target.name} has {size} bytes, and may have {LARGEST}.")
    written = nbformat.read(target, as_version=4).cells
    if _sources(written) != _sources(jupytext.read(source).cells):
        found.append(
            f"{target.name} is older than {source.name}: build it again with "
            f"`python -m notebooks.build {source.stem}`."
        )
    code = [cell for cell in written if cell.cell_type == "code"]
    if any(out.get("name") == "stderr" for cell in code for out in cell.outputs):
        found.append(f"{target.name} shows warnings.")
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append(f"{target.name} was not run from top to bottom.")
    return found


def _sources(cells: Iterable[nbformat.NotebookNode]) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in cells]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="parts of names; default: all")
    parser.add_argument("--fast", action="store_true", help="small sizes")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    os.environ["JRNN_FAST"] = "1" if options.fast else ""
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of tqdm
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    )
    failed = []
    for source in SOURCES:
        if options.names and not any(name in source.name for name in options.names):
            continue
        start = time.perf_counter()
        (check if options.check else build)(source)
        failed += problems(source)
        print(f"{source.name}: {time.perf_counter() - start:.0f} s", flush=True)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
