"""A training loop as a user would write it with `jrnn.training`; the drill breaks it.

    python -m experiments.drill.trainer '{"folder": "...", "steps": 20, ...}'

It predicts the next symbol of a text with a stateful LSTM, dropout of the input and
Adam. A batch is a function of (seed, step). It prints one line of JSON at the end.

    exit code   0 finished, 75 and 130 stopped by a signal and saved,
                2 refused: the message says why, 3 too many bad gradients
"""

import dataclasses
import hashlib
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jrnn
from experiments.drill import text
from jrnn import training
from jrnn.training import batches, checkpoints, peers, processes, stopping

MAY_CHANGE = ["config.rate", "config.steps"]
CELLS = {"lstm": jrnn.LSTM, "gru": jrnn.GRU, "elman": jrnn.Elman}
OPTIMIZERS = {"adam": optax.adam, "sgd": optax.sgd}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the program does, and what happens to it on the way."""

    folder: str
    # The configuration: saved and compared.
    steps: int = 20
    seed: int = 0
    cell: str = "lstm"
    hidden_size: int = 6
    layers: int = 1
    batch_size: int = 5
    time: int = 7
    shuffle: bool = False  # the order of batches, in each pass over the text
    rate: float = 0.02
    optimizer: str = "adam"
    dtype: str = "float32"
    # How it runs.
    corpus: str | None = None  # path to a file of bytes
    every: int = 5  # updates between checkpoints
    background: bool = False
    devices: int = 1
    explicit: bool = False
    process: int = 0
    processes: int = 1
    port: int = 0
    patience: int = 60  # seconds until all processes must have started
    max_in_a_row: int = 2
    # What goes wrong.
    bad: tuple[int, ...] = ()  # steps whose loss is NaN
    huge: tuple[int, ...] = ()  # steps whose gradient is infinite
    pause: float = 0.0  # seconds in each update
    slow: float = 0.0  # seconds before a save, on the last process
    kill_at: int | None = None  # the last process kills itself
    stop_at: int | None = None  # the last process stops itself: it hangs
    victim: int = -1  # another process than the last


CONFIG = ["steps", "seed", "cell", "hidden_size", "layers", "batch_size", "time"]
CONFIG += ["rate", "optimizer", "dtype", "shuffle"]


class Learner(NamedTuple):
    params: Any
    opt_state: Any
    state: Any
    key: Any


def main(settings: Settings) -> int:
    """Prepares JAX, trains, and returns the exit code."""
    jax.config.update("jax_num_cpu_devices", settings.devices)
    if settings.processes > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{settings.port}",
            num_processes=settings.processes,
            process_id=settings.process,
            initialization_timeout=settings.patience,
            heartbeat_timeout_seconds=25,
        )
    return attempt(settings)


def attempt(settings: Settings) -> int:
    """Trains within this process, and returns the exit code."""
    try:
        with peers.watched():
            return train(settings)
    except (checkpoints.CheckpointError, processes.ProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except training.NonFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def train(settings: Settings) -> int:
    """Trains from the newest checkpoint on."""
    kinds = jax.sharding.AxisType
    kind = kinds.Explicit if settings.explicit else kinds.Auto
    devices = [
        [each for each in jax.devices() if each.process_index == process]
        for process in range(jax.process_count())
    ]
    chosen = np.array([own[: settings.devices] for own in devices]).reshape(-1)
    mesh = jax.sharding.Mesh(chosen, ("batch",), axis_types=(kind,))
    corpus = text.read(settings.corpus)
    model, tx = build(settings, int(corpus.max()) + 1)
    split = batches.BatchSplit(settings.batch_size, mesh)
    drawn = begin(settings, model, tx)
    config = {name: getattr(settings, name) for name in CONFIG}
    facts = {"config": config, "data": checkpoints.fingerprint(corpus)}
    with (
        jax.set_mesh(mesh),
        checkpoints.Checkpoints(
            settings.folder,
            facts,
            may_change=MAY_CHANGE,
            background=settings.background,
        ) as store,
        stopping.stop_requests() as stop,
    ):
        step = 0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if found := store.restore(drawn):
                drawn, step = found.tree, found.step
        learner = place(drawn, split)
        for each in caught:
            print(f"note: {each.message}", file=sys.stderr)
        if found is None:
            print("note: no checkpoint yet, starting at step 0", file=sys.stderr)
        log = Log(Path(settings.folder) / "losses.jsonl", step)
        update = jax.jit(make_update(model, tx), donate_argnums=0)
        print("READY", flush=True)
        while step < settings.steps and not stop.anywhere():
            go_wrong(settings, step)
            batch = text.batch(settings, corpus, step, split.own)
            placed, mask = split.place(batch)
            factor = np.float32(
                np.nan if step in settings.bad else 1e38 if step in settings.huge else 1
            )
            learner, loss = update(learner, *placed, mask, factor)
            skip = learner.opt_state
            if int(skip.last) == step:
                print(f"note: skipped the update of step {step}", file=sys.stderr)
            step += 1
            log.add(step, float(loss), batch, int(skip.skipped))
            training.raise_if_stuck(learner.opt_state, settings.max_in_a_row)
            if step % settings.every == 0:
                save(settings, store, step, whole(learner, split))
        save(settings, store, step, whole(learner, split))
    if processes.is_first():
        print(json.dumps({"step": step, **digests(learner, log)}), flush=True)
    return stop.exit_code


def save(settings: Settings, store: Any, step: int, learner: Learner) -> None:
    """Saves, and says so once the checkpoint is on the disk."""
    if settings.slow and settings.process == settings.processes - 1:
        time.sleep(settings.slow)
    store.save(step, learner, {"position": step * settings.time})
    if not settings.background and processes.is_first():
        print("SAVED", step, flush=True)


def go_wrong(settings: Settings, step: int) -> None:
    """Does what the drill asked for."""
    if settings.pause:
        time.sleep(settings.pause)
    if settings.process == settings.victim % settings.processes:
        if step == settings.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == settings.stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)


def build(settings: Settings, symbols: int) -> tuple[Any, Any]:
    """Returns the model and the optimizer."""
    cell = CELLS[settings.cell](settings.hidden_size)
    recurrent = [jrnn.Recurrent(cell) for _ in range(settings.layers)]
    embed = jrnn.Embed(symbols, 4)
    model = jrnn.Sequential(embed, jrnn.Dropout(0.1), *recurrent, jrnn.Dense(symbols))
    return model, training.optimizer(OPTIMIZERS[settings.optimizer](settings.rate))


def begin(settings: Settings, model: Any, tx: Any) -> Learner:
    """Draws the parameters."""
    key, draw = jax.random.split(jax.random.key(settings.seed))
    params = model.init(draw, 0)
    params = jax.tree.map(lambda a: a.astype(settings.dtype), params)
    state = model.initial_state(params, (settings.batch_size,))
    return Learner(params, tx.init(params), jax.tree.map(np.asarray, state), key)


def place(learner: Learner, split: batches.BatchSplit) -> Learner:
    """Places everything on the devices."""
    own = jax.tree.map(lambda a: a[split.own], learner.state)
    params, opt_state, key = batches.replicate(
        (learner.params, learner.opt_state, learner.key), split.mesh
    )
    return Learner(params, opt_state, split.place(own)[0], key)


def whole(learner: Learner, split: batches.BatchSplit) -> Learner:
    """Returns what is saved: it does not depend on the number of devices."""
    return learner._replace(state=split.gather(learner.state))


def make_update(model: Any, tx: Any) -> Any:
    """Returns one update, which averages over the rows that are not padding."""

    def loss_of(params: Any, state: Any, xs: Any, ys: Any, mask: Any, key: Any) -> Any:
        state, logits = model.apply(params, state, xs, key=key)
        valid = jnp.broadcast_to(mask[:, None], ys.shape)
        return training.cross_entropy(logits, ys, valid), state

    def update(
        learner: Learner, xs: Any, ys: Any, mask: Any, factor: Any
    ) -> tuple[Learner, Any]:
        params, opt_state, state, key = learner
        key, use = jax.random.split(key)

        def scaled(params: Any) -> Any:
            loss, after = loss_of(params, state, xs, ys, mask, use)
            return loss * factor * factor, (loss, after)

        gradient, (loss, state) = jax.grad(scaled, has_aux=True)(params)
        updates, opt_state = tx.update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        return Learner(params, opt_state, state, key), loss

    return update


class Log:
    """The losses, one line of JSON per update; those after a checkpoint are removed."""

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        if not processes.is_first():
            return
        lines = path.read_text().splitlines(True) if path.exists() else []
        path.write_text("".join(lines[:step]))

    def add(self, step: int, loss: float, batch: Any, skipped: int) -> None:
        if not processes.is_first():
            return
        digest = checkpoints.fingerprint(batch)[:12]
        row = [step, loss.hex(), digest, skipped]
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")


def digests(learner: Learner, log: Log) -> dict[str, Any]:
    """Returns a hash of everything that a resumed run must reproduce."""
    parts = {
        name: checkpoints.fingerprint(jax.tree.map(np.asarray, jax.device_get(part)))
        for name, part in learner._asdict().items()
        if name not in ("key", "state")
    }
    key = np.asarray(jax.random.key_data(learner.key))
    lines = log.path.read_bytes()
    return {
        **parts,
        "key": checkpoints.fingerprint(key),
        "log": hashlib.sha256(lines).hexdigest(),
    }


if __name__ == "__main__":
    sys.exit(main(Settings(**json.loads(sys.argv[1]))))
