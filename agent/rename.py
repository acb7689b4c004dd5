"""renameat2(2): rename without replacing, and exchange; Python's os has neither."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_AT_FDCWD = -100
_NOREPLACE = 1
_EXCHANGE = 2


def _renameat2(source: Path, target: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def without_replacing(source: Path, target: Path) -> None:
    """Raises FileExistsError if the target is there."""
    _renameat2(source, target, _NOREPLACE)


def put_in_place(source: Path, target: Path) -> None:
    """`source` becomes `target` in one step; what was there before is then at `source`."""
    _renameat2(source, target, _EXCHANGE if os.path.lexists(target) else _NOREPLACE)
