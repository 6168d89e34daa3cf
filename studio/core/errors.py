"""What can go wrong in words a person can act on.

A front end translates these in one place; anything that is not a `StudioError` is logged with an
incident id and shown as "Something went wrong (id …)".
"""


class StudioError(Exception):
    """Base of every error that may be shown to a person.

    `message` is one sentence that names the thing that is wrong, `hint` one sentence that says what
    to do. Neither holds a path of the server, a stack or a secret.
    """

    status = 400
    """HTTP status that front ends answer with."""

    def __init__(self, message: str, hint: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        """Name of the request field that caused it, where there is one."""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidRequest(StudioError):
    """A request that cannot be run as asked. Nothing was queued or changed."""

    status = 422


class Unusable(InvalidRequest):
    """The checkpoint that was named is not what it should be. Nothing was queued or changed."""

    status = 424


class NotFound(StudioError):
    """An id that does not exist, or that belongs to somebody else: the answer is the same."""

    status = 404


class Refused(StudioError):
    """Understood and not allowed: a foreign origin, a missing login, a file type that can run code."""

    status = 403


class InUse(StudioError):
    """Something else still needs it. Nothing was changed."""

    status = 409


class TooLarge(StudioError):
    """More bytes or pixels than the studio takes. Nothing was stored."""

    status = 413


class Unsupported(StudioError):
    """A file of a kind that the studio does not read. Nothing was stored."""

    status = 415


class Busy(StudioError):
    """A limit on rate or on waiting jobs. Trying again later helps."""

    status = 429

    def __init__(
        self, message: str, hint: str, *, field: str | None = None, wait_s: float = 1.0
    ) -> None:
        super().__init__(message, hint, field=field)
        self.wait_s = wait_s
        """Seconds until trying again may help."""


class Unavailable(StudioError):
    """The engine or a weight is missing at the moment."""

    status = 503


class StorageFailed(StudioError):
    """The disk is full or cannot be written. No half-written file is left."""

    status = 507
