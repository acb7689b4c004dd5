"""`./dev lint`: every check that reads code instead of running it. All run, also after one has failed."""

from __future__ import annotations

import os
import subprocess

from deploy.embedded import template_lint
from deploy.embedded.options import PYTHON, ROOT, var_folder

PACKAGES = ["nspawnweb", "machines", "tasks", "teams", "audit", "contract", "agent", "lab", "deploy"]


def run() -> int:
    """Exit code 0 if nothing is wrong."""
    tools = PYTHON.parent
    commands = {
        "ruff check": [str(tools / "ruff"), "check", "--quiet", "."],
        "ruff format": [str(tools / "ruff"), "format", "--check", "--quiet", "."],
        "mypy": [str(tools / "mypy"), *PACKAGES],
        "import-linter": [str(tools / "lint-imports")],
        "djlint": [str(tools / "djlint"), "templates", "--lint", "--quiet"],
    }
    failed = [name for name, argv in commands.items() if not _run(name, argv)]
    faults = template_lint.faults(ROOT / "templates", ROOT / "static" / "css")
    for fault in faults:
        print(fault)
    print(f"dev: {'FAILED' if faults else 'ok    '} templates")
    return 1 if failed or faults else 0


def _run(name: str, argv: list[str]) -> bool:
    environment = os.environ | {"NSPAWNWEB_VAR": str(var_folder() / "test" / "state"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{done.stdout}{done.stderr}")
    print(f"dev: {'ok    ' if done.returncode == 0 else 'FAILED'} {name}", flush=True)
    return done.returncode == 0
