"""`./dev test [unit|e2e|browser] [PYTEST ARGS]`: every test, by kind, with one summary at the end.

unit     on SQLite and again on PostgreSQL (what knows a database), and the front end's own tests in Node.js
e2e      on lab hosts, against the whole product as `./dev up` starts it
browser  Chromium against the same
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.embedded import postgres
from deploy.embedded.options import PYTHON, ROOT, var_folder

KINDS = ("unit", "e2e", "browser")
WITH_DATABASE = ["tests/audit", "tests/machines", "tests/tasks", "tests/teams"]
SLOWEST = 10


@dataclass
class Tally:
    """Counts over all groups, and how long each test took in seconds."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    times: list[tuple[float, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Groups that ended badly without a failed test: nothing collected, a crash."""

    def read(self, group: str, report: Path) -> int:
        """Add a JUnit report; how many of it failed."""
        failed = 0
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"}:
                failed += 1
            elif "skipped" in kinds:
                self.skipped += 1
            else:
                self.passed += 1
            name = f"{group}: {case.get('classname', '')}::{case.get('name', '')}"
            self.times.append((float(case.get("time") or 0), name))
        self.failed += failed
        return failed


def run(argv: list[str]) -> int:
    """Exit code 0 if all passed."""
    kinds = [argv[0]] if argv and argv[0] in KINDS else list(KINDS)
    arguments = argv[1:] if argv and argv[0] in KINDS else argv
    tally = Tally()
    if "unit" in kinds:
        _unit(arguments, tally)
    if "e2e" in kinds or "browser" in kinds:
        with ExitStack() as stack:
            environment = stack.enter_context(_stack()) if len(kinds) > 1 else {}
            for kind in ("e2e", "browser"):
                if kind in kinds:
                    _pytest(kind, ["-m", kind, *arguments], environment, tally)
    return _report(tally)


def _unit(arguments: list[str], tally: Tally) -> None:
    marks = ["-m", "not e2e and not browser", "-n", "auto", "--dist", "loadfile"]
    _pytest("unit on SQLite", [*marks, *arguments], {}, tally)
    _node(tally)
    if not any(Path(word.partition("::")[0]).exists() for word in arguments):
        marks = [*marks, *WITH_DATABASE]
    try:
        with postgres.cluster() as url:
            _pytest("unit on PostgreSQL", [*marks, *arguments], {"NSPAWNWEB_DATABASE_URL": url}, tally)
    except postgres.PostgresError as error:
        print(f"dev: {error}", file=sys.stderr)
        tally.broken.append("unit on PostgreSQL")


def _pytest(group: str, arguments: list[str], environment: dict[str, str], tally: Tally) -> None:
    """One run of pytest in a state folder of its own. Exit code 5, no test at all, counts as broken."""
    folder = var_folder() / "test"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    report = folder / f"{group.replace(' ', '-').lower()}.xml"
    report.unlink(missing_ok=True)
    _say(f"{group}: pytest {' '.join(arguments)}")
    argv = [str(PYTHON), "-m", "pytest", f"--junitxml={report}", "--durations=10", *arguments]
    made = {"NSPAWNWEB_VAR": str(folder / "state"), "NSPAWNWEB_LAB_IMAGES": _images(), "PYTHONPATH": str(ROOT)}
    code = subprocess.run(argv, cwd=ROOT, env=os.environ | made | environment, check=False).returncode
    failed = tally.read(group, report) if report.exists() else 0
    if code != 0 and not failed:
        tally.broken.append(group)


def _images() -> str:
    """Lab images are built once for all state folders."""
    return os.environ.get("NSPAWNWEB_LAB_IMAGES") or str(var_folder() / "lab" / "images")


def _node(tally: Tally) -> None:
    """The front end's tests, if this machine has Node.js (`./dev` brings it when it must build)."""
    folder = ROOT / "tests" / "static" / "js"
    if not folder.is_dir():
        return
    path = f"{os.environ.get('PATH', '')}:{PYTHON.parent}"
    _say("front end: node --test")
    files = sorted(str(file) for file in folder.glob("*.test.*js"))
    try:
        done = subprocess.run(
            ["node", "--test", *files],
            cwd=ROOT,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        print("dev: Node.js is not here: the front end's tests did not run", file=sys.stderr)
        tally.broken.append("front end")
        return
    counts = {word: int(number) for word, number in re.findall(r"^\W (pass|fail) (\d+)", done.stdout, re.M)}
    tally.passed += counts.get("pass", 0)
    tally.failed += counts.get("fail", 0)
    if done.returncode != 0:
        print(done.stdout[-8000:], done.stderr[-4000:])
        if not counts.get("fail"):
            tally.broken.append("front end")


@contextmanager
def _stack() -> Iterator[dict[str, str]]:
    """One running product for end-to-end and browser tests together (tests/stack.py finds it by these variables)."""
    if os.environ.get("NSPAWNWEB_TEST_STACK"):
        yield {}
        return
    from tests.stack import running

    os.environ["NSPAWNWEB_LAB_IMAGES"] = _images()
    _say("starting the product with two lab hosts")
    with running(hosts=2) as stack:
        yield {"NSPAWNWEB_TEST_STACK": str(stack.var), "NSPAWNWEB_TEST_STACK_PORT": stack.url.rpartition(":")[2]}


def _report(tally: Tally) -> int:
    print(f"\nThe slowest {SLOWEST}:")
    for seconds, name in sorted(tally.times, reverse=True)[:SLOWEST]:
        print(f"{seconds:8.1f} s  {name}")
    for group in tally.broken:
        print(f"broken: {group}")
    well = not tally.failed and not tally.broken
    skipped = f", {tally.skipped} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {tally.failed + len(tally.broken)} failed{skipped}", flush=True)
    return 0 if well else 1


def _say(line: str) -> None:
    print(f"\ndev: {line}", flush=True)
