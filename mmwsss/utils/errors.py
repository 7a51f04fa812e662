"""Errors whose message is all that a person needs."""


class WorkError(RuntimeError):
    """Work that could not be done, for a reason that the message names."""
