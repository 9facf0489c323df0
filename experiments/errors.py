"""An error that the user can fix. It is shown as one line without a traceback."""


class UserError(Exception):
    """A wrong option, file or run. The message says how to fix it."""
