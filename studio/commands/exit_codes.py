"""What a command ends with, for scripts."""

from studio.core.errors import Unusable

OK = 0
WENT_WRONG = 1
BAD_INPUT = 2
DATA_DIR_UNUSABLE = 3
NOT_PAINTED = 4
DAMAGED = 5
STOPPED = 130

EXPLAINED = """\
exit codes:
  0    done
  1    something went wrong that should not; the log says more
  2    a flag, a setting or the request is wrong
  3    the data folder is in use by another studio, or cannot be used
  4    the engine failed, or cannot paint at the moment
  5    a checkpoint is not what it should be
  130  stopped with Ctrl+C
"""


def exit_code(status: int) -> int:
    """The exit code of a command that ended with a `StudioError` of this HTTP status."""
    if status == Unusable.status:
        return DAMAGED
    if status in {409, 507}:
        return DATA_DIR_UNUSABLE
    return BAD_INPUT if 400 <= status < 500 and status != 429 else NOT_PAINTED
