"""An error that the user can fix. It is shown as one line without a traceback."""


class UserError(Exception):
    """An invalid option, file or run. The message explains how to fix it."""
