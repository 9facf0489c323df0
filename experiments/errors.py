"""An error that the user can fix. It is shown as one line without a traceback."""

from collections.abc import Sequence


class UserError(Exception):
    """An invalid option, file or run. The message explains how to fix it."""


def refuse(wrong: Sequence[str]) -> None:
    """Raises a `UserError` that lists what is wrong, if anything is."""
    if wrong:
        raise UserError("; ".join(wrong) + ".")
