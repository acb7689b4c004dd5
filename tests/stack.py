"""The whole product as a stranger starts it: `./dev up` with lab hosts, and a client of its API.

End-to-end tests, browser tests and benchmarks share one running stack. `NSPAWNWEB_TEST_STACK` names the state
folder of one that runs already; else one is started below `var/` and taken down, with its lab hosts, at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

import lab

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")
Json = dict[str, Any]


def wait_for(what: str, probe: Callable[[], T | None], *, timeout: float = 30, every: float = 0.1) -> T:
    """The first true answer of `probe`; AssertionError naming `what` and the last answer after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:g} s for {what}; the last answer was {answer!r}")
        time.sleep(every)


def free_port() -> int:
    """A port P so that P, P+443 and P+444 are free now."""
    for port in range(18100, 18500, 7):
        try:
            for offset in (0, 443, 444):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return port
    raise AssertionError("no three free ports between 18100 and 18944")


@dataclass
class Api:
    """The HTTP API as one person. `call` asserts the status, so that a failure shows what the portal said."""

    base: str
    token: str
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(
            base_url=f"{self.base}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=20
        )

    def call(self, method: str, path: str, *, expect: int = 200, **kwargs: Any) -> Any:
        answer = self.client.request(method, path, **kwargs)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params)

    def post(self, path: str, body: Json | None = None, *, expect: int = 202) -> Any:
        return self.call("POST", path, json=body or {}, expect=expect)

    def create(self, name: str, host: str, release: str = "debian-bookworm", **more: Any) -> tuple[Json, Json]:
        answer = self.post("/containers", {"name": name, "host": host, "release": release, **more})
        return answer["container"], answer["job"]

    def act(self, container: Json | str, verb: str) -> Json:
        ident = container if isinstance(container, str) else container["id"]
        return dict(self.post(f"/containers/{ident}/{verb}")["job"])

    def remove(self, container: Json) -> Json:
        return dict(self.call("DELETE", f"/containers/{container['id']}", expect=202)["job"])

    def job_over(self, job: Json, *, timeout: float = 120) -> Json:
        """The job once it has ended."""

        def over() -> Json | None:
            now = dict(self.get(f"/jobs/{job['id']}"))
            return now if now["state"] in {"succeeded", "failed", "cancelled"} else None

        return wait_for(f"the end of job {job['title']}", over, timeout=timeout)

    def done(self, job: Json, *, timeout: float = 120) -> Json:
        """The job once it has succeeded; fails with its own words otherwise."""
        over = self.job_over(job, timeout=timeout)
        assert over["state"] == "succeeded", json.dumps(over, indent=1)
        return over

    def state(self, container: Json, *states: str, timeout: float = 30) -> Json:
        """The container once it is in one of `states`."""

        def probe() -> Json | None:
            now = dict(self.get(f"/containers/{container['id']}"))
            return now if now["state"] in states else None

        return wait_for(f"{container['name']} to be {' or '.join(states)}", probe, timeout=timeout)


@dataclass
class Stack:
    """A running portal. `hosts` maps host names in the portal to lab hosts."""

    var: Path
    url: str
    password: str
    api: Api

    @property
    def hosts(self) -> dict[str, lab.Host]:
        return {host.name: host for host in lab.hosts(self.var)}

    def remove_all(self) -> None:
        """Remove every container of the portal; waits for jobs that hold one."""
        jobs = [self.api.remove(container) for container in self.api.get("/containers", limit=200)["items"]]
        for job in jobs:
            self.api.job_over(job, timeout=120)

    def dev(self, *argv: str, timeout: float = 900, input: str | None = None) -> str:
        """What `./dev …` prints for this stack."""
        return dev(self.var, *argv, timeout=timeout, input=input)


def dev(var: Path, *argv: str, timeout: float = 1500, input: str | None = None) -> str:
    done = subprocess.run(
        [str(ROOT / "dev"), *argv],
        cwd=ROOT,
        env={**os.environ, "NSPAWNWEB_VAR": str(var)},
        input=input,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"./dev {' '.join(argv)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _connect(var: Path, port: int) -> Stack:
    token = dev(var, "manage", "api_token", "admin").split()[-1]
    url = f"http://127.0.0.1:{port}"
    return Stack(var, url, (var / "admin-password").read_text().strip(), Api(url, token))


@contextmanager
def running(*, hosts: int = 2) -> Iterator[Stack]:
    """A stack with that many lab hosts, all online. Its logs stay in var/test/last-stack-log."""
    if given := os.environ.get("NSPAWNWEB_TEST_STACK"):
        stack = _connect(Path(given), int(os.environ["NSPAWNWEB_TEST_STACK_PORT"]))
        yield stack
        return
    var = ROOT / "var" / f"test-{os.getpid()}"
    os.environ.setdefault("NSPAWNWEB_LAB_IMAGES", str(ROOT / "var" / "lab" / "images"))
    port = free_port()
    try:
        dev(var, "up", "--detach", "--hosts", str(hosts), "--port", str(port))
        stack = _connect(var, port)
        wait_for("all hosts online", lambda: [h["online"] for h in stack.api.get("/hosts")["items"]] == [True] * hosts)
        yield stack
    finally:
        dev(var, "down")
        for host in lab.hosts(var):
            lab.down(host.name, purge=True, var=var)
        keep = ROOT / "var" / "test" / "last-stack-log"
        shutil.rmtree(keep, ignore_errors=True)
        shutil.copytree(var / "log", keep)
        shutil.rmtree(var)
