"""Saves checkpoints in a loop until it is killed: `python saver.py FOLDER`."""

import sys

import numpy as np

from jrnn.training.checkpoints import Checkpoints


def main(folder: str) -> None:
    """Prints a line after each durable save."""
    with Checkpoints(folder, keep=2) as store:
        step = store.step or 0
        print("READY", flush=True)
        while True:
            step += 1
            store.save(step, {"w": np.full((64, 64), step, np.float32)})
            print("SAVED", step, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
