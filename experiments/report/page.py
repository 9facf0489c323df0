"""The page: one file of HTML, with data, styles and programs inside."""

import dataclasses
import html
import importlib.resources
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import UserError
from experiments.report import curves, operations, program, reading
from experiments.report.records import Recorded
from experiments.run import folder, results

BOKEH = ("bokeh.min.js", "bokeh-api.min.js")
SCRIPTS = (
    *("dom.js", "program.js", "sampler.js", "translator.js", "text.js", "charts.js"),
    "page.js",
)
BEST = (
    "Shown are the weights of the best held-out score during the training; the score "
    "at the top is that of the last ones."
)
SAMPLER = ("dom.js", "program.js", "sampler.js", "page.js")


def report(runs: Sequence[Recorded], best: bool = False) -> str:
    """Returns the page of one or several runs of one task.

    Args:
      runs: What the runs recorded.
      best: Show the weights of the best held-out score, not the last ones.

    Raises:
      UserError: If they are of different tasks, or have no such weights.
    """
    task = runs[0].run.task
    others = sorted({run.run.task.name for run in runs} - {task.name})
    if others:
        raise UserError(
            f"runs of {task.name} and {', '.join(others)} cannot be on one page: pass "
            "runs of one task."
        )
    kinds = curves.groups(runs)
    found = {
        "title": f"{task.name}: {task.about}",
        "unit": task.unit,
        "groups": [
            _group(name, kind)
            for name, kind in zip(curves.names(kinds), kinds, strict=True)
        ],
        "curves": curves.curves(kinds),
        "runs": [one(run, best) for run in runs],
    }
    return render(found, SCRIPTS, bokeh=True)


def sampler(run: Recorded, best: bool = False) -> str:
    """Returns a page with the sampler of a run only.

    Raises:
      UserError: If the run has no sampler that runs in a page.
    """
    model, params = _trained(run, best)
    made = generator(run, model, params)
    if made is None or "refused" in made:
        why = made["refused"] if made else "its task does not generate symbols"
        raise UserError(f"{run.path} has no sampler in a page: {why}.")
    task = run.run.task
    found = {
        "title": f"{task.name}: {task.about}",
        "runs": [{**_facts(run), "generator": made}],
    }
    return render(found, SAMPLER, bokeh=False)


def one(run: Recorded, best: bool = False) -> dict[str, Any]:
    """Returns what the page shows of one run; sections that do not apply are None."""
    found = _facts(run) | {
        "samples": [
            {"step": row["step"], "words": row["words"], "text": row["text"]}
            for row in run.samples
            if row["text"]
        ],
        "gradients": [
            {"step": row["step"], "norms": row["norms"]} for row in run.gradients
        ],
    }
    if not best and not (run.path / folder.LAST).exists():
        return found | {"notes": ["The run has not saved a model yet."]}
    model, params = _trained(run, best)
    if best:
        found["notes"] = [BEST]
    found["generator"] = generator(run, model, params)
    found["translator"] = translator(run, model, params)
    task, options = run.run.task, run.run.options
    try:
        data = task.load(options)
        if folder.identity(data) != folder.identity(run.run.data):
            raise UserError(f"{data.name} is not what the run was trained on")
    except UserError as error:
        notes = [*found.get("notes", []), f"Held-out data are missing: {error}"]
        return found | {"notes": notes}
    text = task.reading(options, model, params, data)
    found["reading"] = reading.content(text) if text else None
    found["alignments"] = [
        {
            "source": alignment.source,
            "target": alignment.target,
            "weights": np.round(np.asarray(alignment.weights, float), 3).tolist(),
            "about": alignment.about,
        }
        for alignment in task.alignments(options, model, params, data)
    ]
    return found


def generator(run: Recorded, model: Any, params: Any) -> dict[str, Any] | None:
    """Returns the network that writes in the page, or why it cannot."""
    made = run.run.task.generator(run.run.options, model, params, run.run.data.saved)
    if made is None:
        return None
    try:
        content = program.export(made.step, made.starts)
    except operations.UnknownOperationError as error:
        return {"refused": f"the cell {run.run.options.cell} cannot run here: {error}"}
    return {
        "program": content,
        "symbols": made.symbols,
        "unit": made.unit,
        "prime": made.prime,
        "banned": made.banned,
        "end": made.end,
    }


def translator(run: Recorded, model: Any, params: Any) -> dict[str, Any] | None:
    """Returns the network that answers in the page, or why it cannot."""
    given = run.run.options, model, params, run.run.data.saved
    made = run.run.task.translator(*given)
    if made is None:
        return None
    empty = np.zeros(made.width, np.int32), np.int32(1)
    try:
        content = program.export_function(made.answer, *empty)
    except operations.UnknownOperationError as error:
        return {"refused": f"the cell {run.run.options.cell} cannot run here: {error}"}
    facts = made._asdict()
    del facts["answer"]
    return {"program": content, "looks": len(content["outputs"]) > 1, **facts}


def render(content: dict[str, Any], scripts: Sequence[str], bokeh: bool) -> str:
    """Returns the file. Text of a run is data, which the programs show as text."""
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    parts = [_script(path) for path in _bokeh()] if bokeh else []
    parts += [_script(static(name)) for name in scripts]
    fields = {
        "TITLE": html.escape(content["title"]),
        "STYLE": static("page.css"),
        "CONTENT": data.replace("<", "\\u003c"),
        "SCRIPTS": "\n".join(parts),
    }
    before, *rest = static("page.html").split("@@")
    shown = [
        fields.get(part, part) if n % 2 == 0 else part for n, part in enumerate(rest)
    ]
    return "".join([before, *shown])


def static(name: str) -> str:
    """Returns a file of this package."""
    file = importlib.resources.files("experiments.report") / "static" / name
    return file.read_text("utf-8")


def _facts(run: Recorded) -> dict[str, Any]:
    options = run.run.options
    return {
        "name": run.name,
        "model": run.run.task.describe(options),
        "seed": options.seed,
        "settings": {k: str(v) for k, v in options.to_json().items() if v is not None},
        "words": run.words,
        "trained": run.trained,
        "command": results.command([run.like_results]),
        "data": run.run.data.name,
    }


def _group(name: str, kind: Sequence[Recorded]) -> dict[str, Any]:
    """Returns the figures of runs that differ only in their seed."""
    known = [run.result["figures"] for run in kind if run.result.get("figures")]
    figures = {
        figure: [float(values[figure]) for values in known]
        for figure in (known[0] if known else {})
    }
    return {
        "name": name,
        "model": kind[0].run.task.describe(kind[0].run.options),
        "recipe": recipe(kind[0].run.options),
        "command": results.command([run.like_results for run in kind]),
        "figures": figures,
        "baselines": kind[0].result.get("baselines", {}),
        "goals": [
            goal._asdict()
            for goal in kind[0].run.task.goals(kind[0].run.options, kind[0].run.data)
        ],
    }


def recipe(options: Any) -> str:
    """Returns how a model was trained, in a sentence."""
    return (
        f"Batches of {options.batch_size}, Adam with a learning rate of "
        f"{options.learning_rate:g}, clipped at {options.clip:g}, dropout "
        f"{options.dropout:g}."
    )


def _trained(run: Recorded, best: bool = False) -> tuple[Any, Any]:
    """Returns the model, which computes step by step, and its parameters."""
    _, _, params = folder.trained(run.path, best)
    options = dataclasses.replace(run.run.options, method="scan")
    return run.run.task.model(options, run.run.data.saved), params


def _script(text: str) -> str:
    return "<script>" + text.replace("</script", "<\\/script") + "</script>"


def _bokeh() -> list[str]:
    """Returns the charts library.

    Raises:
      UserError: If it is not installed.
    """
    found = importlib.util.find_spec("bokeh")
    if found is None or found.origin is None:
        raise UserError("the report needs Bokeh: `pip install 'jrnn[report]'`.")
    scripts = Path(found.origin).parent / "server" / "static" / "js"
    return [(scripts / name).read_text("utf-8") for name in BOKEH]
