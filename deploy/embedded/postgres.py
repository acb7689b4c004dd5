"""A PostgreSQL cluster for one test run: made, used and removed by it; it listens on a unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
START_S = 30.0
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=80"]
"""Nothing of it must outlive the run, so nothing need be safe."""


class PostgresError(Exception):
    """The cluster could not be made; the message is fit for a person."""


def programs() -> Path:
    """Debian keeps initdb and postgres outside PATH, a folder a version: the newest."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise PostgresError("PostgreSQL's server is not installed: apt-get install postgresql.")
    return found[-1].parent


@contextmanager
def cluster() -> Iterator[str]:
    """A running cluster; gives its NSPAWNWEB_DATABASE_URL.

    PostgreSQL refuses to run as root, and its user cannot enter a 0700 state folder: so it lies in /var/tmp, in a
    folder that only that user and root can enter, which is why the socket trusts whoever comes.
    """
    account = pwd.getpwnam(USER)
    folder = Path(tempfile.mkdtemp(prefix="nspawnweb-pg-", dir="/var/tmp"))
    try:
        os.chown(folder, account.pw_uid, account.pw_gid)
        _run(["initdb", "-D", str(folder / "data"), "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "-N"])
        options = [word for setting in FAST for word in ("-c", setting)]
        argv = [str(programs() / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *options]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(argv, user=USER, group=account.pw_gid, extra_groups=[], stdout=log, stderr=log)
        try:
            _await(server, folder)
            yield f"postgresql://{USER}@/nspawnweb?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # "fast": ends sessions, then itself (pg_ctl(1))
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(argv: list[str]) -> None:
    group = pwd.getpwnam(USER).pw_gid
    program = str(programs() / argv[0])
    done = subprocess.run(
        [program, *argv[1:]],
        user=USER,
        group=group,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if done.returncode != 0:
        raise PostgresError(f"{argv[0]} failed:\n{done.stdout}{done.stderr}")


def _await(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_S
    ready = [str(programs() / "pg_isready"), "-q", "-h", str(folder)]
    while subprocess.run(ready, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.05)
