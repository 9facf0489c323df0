"""`python -m experiments.bench`, the same as `python -m experiments bench`."""

import sys

from experiments.bench import command

if __name__ == "__main__":
    sys.exit(command.main("python -m experiments.bench", sys.argv[1:]))
