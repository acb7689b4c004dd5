"""The commands of `./dev`, after it has seen to what must be installed."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.embedded import control, hosts, options, prepare
from deploy.embedded.control import ControlError
from deploy.embedded.options import PYTHON, ROOT, Layout, Options, var_folder
from deploy.embedded.parts import parts


def say(line: str) -> None:
    print(f"dev: {line}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors that a person can mend are told in a line, without a traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    passed_on: dict[str, Callable[[list[str]], int]] = {"manage": _manage, "lab": _lab, "bench": _bench, "test": _test}
    try:
        if argv and argv[0] in passed_on:
            return passed_on[argv[0]](argv[1:])
        arguments = _parser().parse_args(argv)
        act: Callable[[argparse.Namespace, Layout], int] = arguments.act
        return act(arguments, Layout(var_folder()))
    except (ControlError, hosts.HostError) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="./dev", description="`./dev help` lists all commands.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the portal and its hosts")
    up.add_argument("--detach", action="store_true", help="return when everything is up")
    up.add_argument("--hosts", type=int, metavar="N", help="lab hosts to have; 0: none")
    up.add_argument("--no-local-host", action="store_true", help="never make this machine itself a host")
    up.add_argument("--port", type=int, metavar="P", help="browsers; hosts dial P+443 and P+444 (default 8000)")
    up.add_argument("--listen", metavar="ADDR", help="address for browsers (default 127.0.0.1)")
    up.set_defaults(act=_up)
    commands.add_parser("down", help="stop the portal and its lab hosts").set_defaults(act=_down)
    commands.add_parser("status", help="how every part is").set_defaults(act=_status)
    logs = commands.add_parser("logs", help="what the parts say")
    logs.add_argument("name", nargs="*")
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("-n", "--lines", type=int, default=40)
    logs.set_defaults(act=lambda a, layout: control.show_logs(layout, a.name, follow=a.follow, lines=a.lines))
    commands.add_parser("lint", help="ruff, mypy, import-linter, templates").set_defaults(act=_lint)
    commands.add_parser("lock", help="make the lock files anew").set_defaults(act=_lock)
    return top


# --- up and down ----------------------------------------------------------------------------------------------------


def _up(arguments: argparse.Namespace, layout: Layout) -> int:
    former = options.saved(layout)
    wanted = Options(port=arguments.port or former.port, listen=arguments.listen or former.listen)
    if not 1 <= wanted.port <= 65535 - options.REDIS_OFFSET:
        raise ControlError(f"--port {wanted.port}: choose one from 1 to {65535 - options.REDIS_OFFSET}.")
    if control.read_status(layout) is not None:
        return _up_already(arguments, former, wanted, layout)
    with control.start_lock(layout) as lock, hosts.booting(layout):
        wanted.save(layout)
        prepare.django_ready(wanted, layout)
        prepare.before_start(wanted, layout, say)
        say(f"starting the portal on {wanted.url}")
        supervisor = control.launch(layout, parts(wanted, layout), lock, echo=not arguments.detach)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        control.await_ready(wanted.url, supervisor, layout.log)
        prepare.after_start()
        failed = _bring_hosts_in(arguments, wanted, layout)
        _summary(wanted, layout)
        if not arguments.detach:
            say("Ctrl-C stops it")
            return supervisor.wait()
        return failed
    except BaseException as error:
        _stop_child(supervisor)
        if isinstance(error, KeyboardInterrupt):
            _down_hosts(layout)
            say("stopped")
            return 0
        raise


def _up_already(arguments: argparse.Namespace, former: Options, wanted: Options, layout: Layout) -> int:
    """It runs: see that the hosts are up too. Another address would need a restart, which nobody asked for."""
    if wanted != former:
        raise ControlError(f"The portal runs already, on {former.url}. Run `./dev down` first to move it.")
    if not arguments.detach:
        raise ControlError(f"The portal runs already, on {former.url}. `./dev logs -f` shows what it says.")
    say("the portal runs already")
    prepare.django_ready(former, layout)
    failed = _bring_hosts_in(arguments, former, layout)
    _summary(former, layout)
    return failed


def _bring_hosts_in(arguments: argparse.Namespace, now: Options, layout: Layout) -> int:
    """A host that does not come up does not take the portal down: it is told about, and the exit code says it."""
    local = not arguments.no_local_host
    try:
        hosts.bring_in(hosts.wanted(layout, arguments.hosts, local=local, say=say), now, layout, say)
    except hosts.HostError as error:
        print(f"dev: not every host came up\n{error}", file=sys.stderr)
        return 1
    return 0


def _summary(now: Options, layout: Layout) -> None:
    names = ", ".join(known.name for known in hosts.read(layout)) or "none; add one under Hosts"
    say(f"portal    {now.url}")
    say(f"user      admin, password in {layout.admin_password}")
    say(f"hosts     {names}")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _stop_child(supervisor: subprocess.Popen[bytes]) -> None:
    """Our own child, not yet reaped: its pid is still its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if supervisor.poll() is None:
        supervisor.terminate()
        supervisor.wait(control.STOP_S)


def _down(arguments: argparse.Namespace, layout: Layout) -> int:
    _down_hosts(layout)
    say("the portal is stopped" if control.stop(layout) else "the portal was not running")
    return 0


def _down_hosts(layout: Layout) -> None:
    hosts.power_off(layout, say)


def _status(arguments: argparse.Namespace, layout: Layout) -> int:
    """One line a part and a host. Exit code 0 if all is well, 1 if a part is not, 3 if nothing runs (as systemctl)."""
    status = control.read_status(layout)
    if status is None:
        print(f"not running ({layout.var})")
        return 3
    now = options.saved(layout)
    well = True
    for part in status["parts"]:
        age = time.time() - part["since"] if part["pid"] else 0
        running = part["state"] == "running"
        well &= running
        pid, restarts = part["pid"] or "-", part["restarts"]
        print(f"{part['name']:10} {part['state']:10} pid {pid:<8} up {_age(age):>8}  restarts {restarts}")
    answers = control.answers(now.url)
    print(f"{'portal':10} {'answers' if answers else 'SILENT':10} {now.url}")
    for known in hosts.read(layout):
        print(f"{known.name:10} {known.kind:10} {hosts.state(known, layout)}")
    return 0 if well and answers else 1


def _age(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


# --- commands that pass their arguments on ----------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    layout = Layout(var_folder())
    now = options.saved(layout)
    if not os.environ.get("NSPAWNWEB_REDIS_URL"):
        layout.redis(now.redis_port).password()
    return os.environ | now.environment(layout.var)


def _manage(argv: list[str]) -> int:
    return subprocess.run([str(PYTHON), str(ROOT / "manage.py"), *argv], env=_environment(), check=False).returncode


def _lab(argv: list[str]) -> int:
    from lab.cli import main as lab_main

    os.environ["NSPAWNWEB_VAR"] = str(var_folder())
    return lab_main(argv)


def _bench(argv: list[str]) -> int:
    """`bench NAME …` is the module tests/bench/NAME.py."""
    known = sorted(path.stem for path in (ROOT / "tests" / "bench").glob("[a-z]*.py"))
    if not argv or argv[0] not in known:
        raise ControlError(f"Name a benchmark: {', '.join(known)}.")
    module = [str(PYTHON), "-m", f"tests.bench.{argv[0]}", *_absolute(argv[1:])]
    return subprocess.run(
        module, cwd=ROOT, env=os.environ | {"NSPAWNWEB_VAR": str(var_folder())}, check=False
    ).returncode


def _absolute(argv: list[str]) -> list[str]:
    """The file after --json as seen from where the caller stands."""
    found = list(argv)
    for index, word in enumerate(found[:-1]):
        if word == "--json":
            found[index + 1] = str(Path(found[index + 1]).resolve())
    return found


def _test(argv: list[str]) -> int:
    from deploy.embedded.suite import run

    return run(argv)


def _lint(arguments: argparse.Namespace, layout: Layout) -> int:
    from deploy.embedded.lint import run

    return run()


def _lock(arguments: argparse.Namespace, layout: Layout) -> int:
    from deploy.embedded.locks import run

    return run()
