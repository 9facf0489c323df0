"""The report of runs: one self-contained page. `page` builds it, `static` is shown."""

from pathlib import Path


def sampler_page(path: Path, best: bool = False) -> str:
    """Returns a page with the network of a run, which writes text in a browser.

    Args:
      path: The folder of the run.
      best: Use the weights of the best held-out score, not the last ones.

    Raises:
      UserError: If the run has no network that runs in a page.
    """
    from experiments.report import page, records  # noqa: PLC0415  imports JAX

    return page.sampler(records.read(path), best)
