"""The command line: `python -m experiments COMMAND ...`.

Each row of the table is a command: its name, the function that runs it and a line of
help. Only the module of the given command is imported, so help is fast. The function
takes the name of the program and the other arguments, and returns the exit code.
"""

import os
import pkgutil
import sys

from experiments.errors import UserError

COMMANDS = {
    "list": (
        "experiments.run.commands:show_tasks",
        "list the tasks, with their training time and expected result",
    ),
    "train": (
        "experiments.run.commands:train",
        "train a model for a task",
    ),
    "sample": (
        "experiments.run.commands:sample",
        "sample from a trained model, or show its answers",
    ),
    "eval": (
        "experiments.run.commands:evaluate",
        "score a trained model on held-out data",
    ),
    "export": (
        "experiments.run.export:main",
        "write a trained model to a file for other programs",
    ),
    "plot": (
        "experiments.run.plot:main",
        "plot the metrics of runs to a file",
    ),
    "sweep": (
        "experiments.run.sweep:main",
        "train a task with every combination of some options",
    ),
    "results": (
        "experiments.run.results:main",
        "write a page of results from the folders of runs",
    ),
    "tokens": (
        "experiments.tokens:main",
        "prepare a text that does not fit in memory",
    ),
    "report": (
        "experiments.report.command:main",
        "write a page about one or more runs, with curves, texts and a live sampler",
    ),
    "bench": (
        "experiments.bench.command:main",
        "compare the speed of jrnn and other installed libraries",
    ),
    "drill": (
        "experiments.drill.command:main",
        "inject faults, such as kills and damaged files, and check the outcome",
    ),
    "cells": (
        "experiments.cells:main",
        "print the table of all cells, docs/cells.md",
    ),
    "layouts": (
        "experiments.layouts:main",
        "time the layouts of the gated kernel, and the plain scan",
    ),
    "parts": (
        "experiments.parts:main",
        "time the parts of the gradient of an LSTM in XLA and in PyTorch",
    ),
    "operations": (
        "experiments.operations:main",
        "count operations per time step on GPUs and TPUs; needs no accelerator",
    ),
    "parallel": (
        "experiments.parallel:main",
        "measure methods that compute all time steps at once",
    ),
    "scaling": (
        "experiments.scaling:main",
        "estimate how training over many hosts scales",
    ),
    "parity": (
        "experiments.parity:main",
        "plot the accuracy of parity runs by sequence length",
    ),
    "gradient_flow": (
        "experiments.gradient_flow:main",
        "plot how gradients vanish in Elman networks, GRUs and LSTMs",
    ),
}
PROGRAM = "python -m experiments"


def usage(rows: dict[str, tuple[str, str]]) -> str:
    """Returns the help text for rows of the table."""
    width = max(map(len, rows))
    lines = [f"  {words:<{width}}   {about}" for words, (_, about) in rows.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [options]",
            "",
            *lines,
            "",
            f"Options of a command: {PROGRAM} COMMAND --help",
        ]
    )


def main(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    for words, (function, _) in COMMANDS.items():
        size = len(words.split())
        if [word.replace("-", "_") for word in arguments[:size]] == words.split():
            run = pkgutil.resolve_name(function)
            return run(f"{PROGRAM} {words}", arguments[size:])
    given = [word for word in arguments if word not in ("-h", "--help")]
    rows = {
        words: row
        for words, row in COMMANDS.items()
        if given and given == words.split()[: len(given)]
    }
    if given and not rows:
        print(f"error: no command is called {' '.join(given)!r}.\n", file=sys.stderr)
    asked = len(given) < len(arguments)
    print(usage(rows or COMMANDS), file=sys.stdout if asked else sys.stderr)
    return 0 if asked and (rows or not given) else 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nInterrupted.", flush=True)
        os._exit(130)  # skips the teardown: computations may still run
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        sys.stderr.close()
        sys.exit(141)
