"""What must be in place before the parts start: keys, Redis's configuration, database, static files, bundle, admin.

Runs inside `./dev up` with Django set up by `django_ready`; nothing here needs Redis to answer, `after_start` does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.embedded.control import ControlError
from deploy.embedded.options import PYTHON, ROOT, Layout, Options
from deploy.embedded.redis_server import write_private

Say = Callable[[str], None]


def django_ready(options: Options, layout: Layout) -> None:
    """This process in the portal's environment. Redis's password must exist before settings are read."""
    if not os.environ.get("NSPAWNWEB_REDIS_URL"):
        layout.redis(options.redis_port).password()
    os.environ.update(options.environment(layout.var))
    import django

    django.setup()


def before_start(options: Options, layout: Layout, say: Say) -> None:
    """Everything that does not need a running part. Idempotent, and quick when nothing changed."""
    from tasks import pki

    pki.ensure()
    pki.refresh_server_certificate()
    if not os.environ.get("NSPAWNWEB_REDIS_URL"):
        layout.redis(options.redis_port).prepare()
    _database(say)
    _static(layout, say)
    _bundle(layout, say)
    _admin(layout, say)


def after_start() -> None:
    """Give hosts back the Redis users that a new or emptied Redis lacks."""
    from tasks import hostlink

    hostlink.sync()


def _database(say: Say) -> None:
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("bringing the database up to date")
        call_command("migrate", interactive=False, verbosity=0)
    connection.close()


def _static(layout: Layout, say: Say) -> None:
    """collectstatic when a source changed: hashing and compressing all of it takes seconds."""
    from django.core.management import call_command

    stamp = layout.run / "static-stamp"
    wanted = _static_key()
    if stamp.exists() and stamp.read_text() == wanted and (layout.var / "static" / "staticfiles.json").exists():
        return
    say("collecting static files")
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(wanted)


def _static_key() -> str:
    digest = hashlib.sha256((ROOT / "requirements" / "portal.txt").read_bytes())
    for path in sorted((ROOT / "static").rglob("*")):
        if path.is_file():
            about = path.stat()
            digest.update(f"{path}\0{about.st_mtime_ns}\0{about.st_size}\0".encode())
    return digest.hexdigest()


def _bundle(layout: Layout, say: Say) -> None:
    """The agent's bundle. It is made once beside the code and copied from there: test runs have many state folders."""
    from agent.packaging import bundle

    target, cache = layout.var / "agent-bundle", ROOT / "var" / "agent-bundle"
    wanted = bundle.key()
    if _is_made(target, wanted):
        return
    cache.parent.mkdir(mode=0o700, exist_ok=True)
    with (cache.parent / ".agent-bundle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_made(cache, wanted):
            say("building the host agent's bundle (its wheels are fetched once)")
            _make_bundle(cache)
        if target != cache:
            fresh = target.with_name(f".agent-bundle-{os.getpid()}")
            shutil.copytree(cache, fresh)
            shutil.rmtree(target, ignore_errors=True)
            fresh.rename(target)


def _make_bundle(target: Path) -> None:
    argv = [str(PYTHON), "-m", "agent.packaging.bundle", str(target)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ControlError(f"The agent's bundle could not be built:\n{done.stdout}{done.stderr}")


def _is_made(folder: Path, wanted: str) -> bool:
    from agent.packaging import bundle

    stamp = folder / bundle.STAMP
    return stamp.exists() and stamp.read_text() == wanted and (folder / "bundle.tar").exists()


def _admin(layout: Layout, say: Say) -> None:
    """The user `admin`, whose password is printed once and kept in a 0600 file; one who exists keeps theirs."""
    from teams.services.people import admin_ensure

    if not layout.admin_password.exists():
        write_private(layout.admin_password, secrets.token_urlsafe(15) + "\n")
    password = layout.admin_password.read_text().strip()
    _, made = admin_ensure(password=password)
    if made:
        say(f"made the user admin with the password {password} (also in {layout.admin_password})")
