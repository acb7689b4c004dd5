"""Running the machine's own tools: argv lists only, a clean locale, one kind of error."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from lab.errors import LabError

SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def tool(name: str) -> str:
    """The absolute path of a program of this machine.

    Raises LabError naming the program when it is not installed.
    """
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":" + SBIN)
    if found is None:
        raise LabError(f"{name} is not installed", todo=f"install the package that has {name}")
    return found


def call(argv: Sequence[str], *, check: bool = True, timeout: float = 120) -> str:
    """Run a tool of this machine and give its standard output.

    `timeout` is in seconds. Raises LabError with the tool's own words when it fails and `check`
    is set, and whenever it takes longer than `timeout`.
    """
    line = " ".join(argv)
    try:
        done = subprocess.run(
            [tool(argv[0]), *argv[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{line}` took longer than {timeout:g} s") from error
    if check and done.returncode != 0:
        raise LabError(f"`{line}` failed with code {done.returncode}", why=done.stderr or done.stdout)
    return done.stdout
