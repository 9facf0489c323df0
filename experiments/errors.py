"""The error that is the user's to repair: shown as one line, with no traceback."""


class UserError(Exception):
    """A wrong option, file or run, with a message that says what to do about it."""
