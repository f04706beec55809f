"""What is under way in the repository's folder: uploads that come, versions that go.

It lies there, since only within one disk a file is put in its place in one step. A process that is
killed leaves it behind, perhaps a gigabyte each time; whoever starts next removes that.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_INCOMING, _TRASH = ".incoming-", ".trash-"
# What is called like the folder of a version while it goes.
_GOING = "version"


def incoming(root: Path) -> tuple[int, Path]:
    """Make a file for an upload; it is safe from clear as long as its descriptor is open.

    Raises: OSError.
    """
    while True:
        handle, name = tempfile.mkstemp(prefix=_INCOMING, dir=root)
        # Where a file system has no locks, clear can have none either.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)


def second_name(place: Path, incoming: Path) -> Path | None:
    """Give a file another name beside an upload that will take its place, so that it can come back.

    None if there is no such file, or it can have no second name on this disk.
    """
    name = incoming.with_name(f"{incoming.name}-before")
    try:
        os.link(place, name, follow_symlinks=False)
    except OSError:
        return None
    return name


@contextmanager
def discarded(root: Path, folder: Path) -> Iterator[None]:
    """Take a folder away, in one step for whoever looks; back if what is done meanwhile fails.

    It need not be there.
    Raises: OSError.
    """
    trash = Path(tempfile.mkdtemp(prefix=_TRASH, dir=root))
    try:
        with suppress(FileNotFoundError):
            os.replace(folder, trash / _GOING)
        yield
    except BaseException:
        with suppress(OSError):
            os.replace(trash / _GOING, folder)
        raise
    finally:
        shutil.rmtree(trash, ignore_errors=True)


def clear(root: Path) -> None:
    """Remove what processes have left that are gone; what others are at stays."""
    for path in root.glob(f"{_INCOMING}*"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    # One that is empty may be about to be filled.
    for path in root.glob(f"{_TRASH}*/{_GOING}"):
        shutil.rmtree(path.parent, ignore_errors=True)
