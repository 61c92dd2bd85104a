"""The exceptions that are addressed to a person."""


class UserError(Exception):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where, and what would be right. The command prints it
    without a traceback; any other exception that reaches the command is a bug and keeps its own.
    """


class SettingError(UserError):
    """A key of a config turned out to be wrong after the config was read.

    Args:
        key: dotted, as in `curate.rules.static`.
        message: what is wrong, and what would be right.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message
