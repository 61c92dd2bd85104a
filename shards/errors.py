"""The one exception that is addressed to a person."""


class UserError(Exception):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where, and what would be right. The command prints it
    without a traceback; any other exception that reaches the command is a bug and keeps its own.
    """
