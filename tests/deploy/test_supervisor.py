"""The supervisor starts in order, starts again what dies, stops in order, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from deploy.embedded import control
from deploy.embedded.options import ROOT, Layout
from deploy.embedded.supervisor import Part

SLEEPER = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(0)); print('up', flush=True); "


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def eventually(probe: Callable[[], object], limit: float = 60.0) -> object:
    deadline = time.monotonic() + limit
    while not (answer := probe()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Not gone, and not a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def start(layout: Layout) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def inner(*parts: Part) -> subprocess.Popen[bytes]:
        with control.start_lock(layout) as lock:
            started.append(control.launch(layout, parts, lock, echo=False))
        return started[-1]

    yield inner
    for one in started:
        if one.poll() is None:
            one.terminate()
            one.wait(60)


def part_of(layout: Layout, name: str) -> dict[str, object] | None:
    status = control.read_status(layout)
    found = [part for part in (status or {"parts": []})["parts"] if part["name"] == name]
    return found[0] if found and found[0]["pid"] else None


def test_what_dies_is_started_again(layout: Layout, start: Callable[..., object]) -> None:
    start(Part("one", python(SLEEPER + "time.sleep(600)")))
    first = eventually(lambda: part_of(layout, "one"))
    os.kill(first["pid"], signal.SIGKILL)
    again = eventually(lambda: (part_of(layout, "one") or {}).get("restarts") and part_of(layout, "one"))
    assert again["pid"] != first["pid"] and again["restarts"] == 1 and again["last_exit"] == -9


def test_one_that_keeps_dying_waits_longer_each_time(layout: Layout, start, tmp_path: Path) -> None:
    start(Part("bad", python(f"open('{tmp_path}/n', 'a').write('x'); raise SystemExit(3)")))
    eventually(lambda: (tmp_path / "n").exists() and len((tmp_path / "n").read_text()) >= 3)
    log = layout.log / "supervisor.log"
    eventually(lambda: log.read_text().count("bad ended with 3") >= 3)
    waits = [float(line.rpartition("again in ")[2].split()[0]) for line in log.read_text().splitlines()[:3]]
    assert waits == [0.5, 1.0, 2.0]


def test_a_program_that_is_not_there_is_told_and_tried_again(layout: Layout, start) -> None:
    start(Part("gone", ["/no/such/program"]), Part("other", python(SLEEPER + "time.sleep(600)")))
    eventually(lambda: part_of(layout, "other"))
    eventually(lambda: "gone could not be started" in (layout.log / "supervisor.log").read_text())


def test_the_second_waits_until_the_first_answers(layout: Layout, start, tmp_path: Path) -> None:
    socket = tmp_path / "s"
    code = f"import socket, time; time.sleep(0.5); s = socket.socket(socket.AF_UNIX); s.bind('{socket}'); s.listen(); "
    start(
        Part("first", python(code + "time.sleep(600)"), ready=f"unix:{socket}"),
        Part("second", python(f"import os, time; print(os.path.exists('{socket}'), flush=True); time.sleep(600)")),
    )
    log = layout.log / "second.log"
    eventually(lambda: log.exists() and log.read_text())
    assert log.read_text().strip().endswith("True")


def test_stopping_ends_all_in_reverse_order(layout: Layout, start, tmp_path: Path) -> None:
    order = tmp_path / "order"

    def part(name: str) -> Part:
        handler = f"lambda *a: (open('{order}', 'a').write('{name} '), sys.exit(0))"
        code = f"import signal, sys, time; signal.signal(signal.SIGTERM, {handler}); "
        code += "print('up', flush=True); time.sleep(600)"
        return Part(name, python(code))

    supervisor = start(part("a"), part("b"), part("c"))
    for name in "abc":
        log = layout.log / f"{name}.log"
        eventually(lambda log=log: log.exists() and "up" in log.read_text())
    assert control.stop(layout) is True
    assert supervisor.wait(60) == 0
    assert order.read_text() == "c b a "
    assert control.read_status(layout) is None and control.stop(layout) is False


def test_one_that_does_not_end_is_killed_with_its_children(layout: Layout, start, tmp_path: Path) -> None:
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    code = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid, flush=True); time.sleep(600)"
    )
    supervisor = start(Part("stubborn", python(code), stop_s=0.5))
    log = layout.log / "stubborn.log"
    eventually(lambda: log.exists() and log.read_text().strip())
    grandchild = int(log.read_text().split()[-1])
    control.stop(layout)
    assert supervisor.wait(60) == 0
    eventually(lambda: not alive(grandchild))


def test_a_killed_supervisor_takes_its_parts_along(layout: Layout, start) -> None:
    supervisor = start(Part("one", python(SLEEPER + "time.sleep(600)")))
    pid = eventually(lambda: part_of(layout, "one"))["pid"]
    log = layout.log / "one.log"
    eventually(lambda: log.exists() and "up" in log.read_text())
    supervisor.kill()
    supervisor.wait(60)
    eventually(lambda: not alive(pid))
    eventually(lambda: not control.is_locked(layout))


def test_a_second_start_is_refused(layout: Layout, start) -> None:
    start(Part("one", python(SLEEPER + "time.sleep(600)")))
    eventually(lambda: part_of(layout, "one"))
    with pytest.raises(control.ControlError, match="runs already"), control.start_lock(layout, patience=0.1):
        pass
    environment = os.environ | {"NSPAWNWEB_VAR": str(layout.var), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "deploy.embedded", "up", "--port", "8123"]
    second = subprocess.run(argv, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert second.returncode == 1
    assert "runs already" in second.stderr


def test_output_goes_to_a_log_of_its_own_with_times(layout: Layout, start) -> None:
    start(Part("talker", python("import time; print('hello'); print('x' * 200000, flush=True); time.sleep(600)")))
    log = layout.log / "talker.log"
    eventually(lambda: log.exists() and log.stat().st_size > 200_000)
    first = log.read_text().splitlines()[0]
    assert first.endswith(" hello") and first.startswith("20")


def test_a_plan_is_private(layout: Layout, start) -> None:
    start(Part("one", python(SLEEPER + "time.sleep(600)"), {"SECRET": "x"}))
    assert layout.plan.stat().st_mode & 0o777 == 0o600
    assert json.loads(layout.plan.read_text())["parts"][0] == asdict(
        Part("one", python(SLEEPER + "time.sleep(600)"), {"SECRET": "x"})
    )
