"""What a machine without memory, descriptors, threads or disk does to a server that goes on."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
from collections.abc import Callable

from app.errors import ModelFileChanged, Overloaded, ServingError, StorageFailed, exhausted

# What says all there is to say: where in the code it was met adds nothing.
_PLAIN = (ServingError, OSError, MemoryError, sqlite3.OperationalError)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def began(run: Callable[[], object], name: str) -> bool:
    """Run in a thread that keeps no process alive; false where there is no room for one more."""
    return started(threading.Thread(target=run, name=name, daemon=True))


def started(thread: threading.Thread) -> bool:
    """Start a thread; false where there is no room for one more."""
    try:
        thread.start()
    except RuntimeError:
        # Source: CPython says no more of EAGAIN.
        return False
    return True


def passes(error: BaseException) -> bool:
    """Tell whether an error may be over in a moment, or when somebody has made room."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    known = StorageFailed | Overloaded | ModelFileChanged | sqlite3.OperationalError
    return isinstance(error, known) or exhausted(error) is not None


def report(log: logging.Logger, error: Exception, what: str, *of: object) -> None:
    """Log an error: in one line, unless it is one that nobody has thought of."""
    spent = exhausted(error)
    if spent is not None or isinstance(error, _PLAIN):
        log.error(f"{what}: %s", *of, spent or error)
    else:
        log.error(what, *of, exc_info=error)


class Trouble:
    """Something that is tried again and again: said when it begins to fail and when that is over.

    Not safe for threads.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._kind: type[Exception] | None = None

    def met(self, error: Exception) -> None:
        """Note that it failed; the same kind of error again is no news."""
        if type(error) is not self._kind:
            report(self._log, error, f"{self._what}; trying until it works again")
        self._kind = type(error)

    def over(self) -> None:
        """Note that it worked."""
        if self._kind is not None:
            self._log.warning("%s: this works again", self._what)
        self._kind = None
