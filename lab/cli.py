"""`python3 -m lab`: hosts from the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import lab
from lab import images, inside, lifecycle
from lab.paths import var_folder


def _say(line: str) -> None:
    print(f"lab: {line}", file=sys.stderr, flush=True)


def _describe(host: lab.Host) -> dict[str, Any]:
    return {
        "name": host.name, "release": host.release, "pool": host.pool,
        "state": "running" if host.running else "off", "address": host.address,
        "gateway": host.gateway, "leader": host.leader, "root": str(host.root),
    }  # fmt: skip


def _up(args: argparse.Namespace) -> int:
    began = time.monotonic()
    host = lab.up(args.name, release=args.release, pool=args.pool, pool_size=args.pool_size, say=_say)
    if args.json:
        print(json.dumps(_describe(host), indent=1))
    else:
        took = time.monotonic() - began
        print(f"{host.name} is up at {host.address} after {took:.1f} s; this machine is {host.gateway}")
    return 0


def _down(args: argparse.Namespace) -> int:
    """All hosts when none is named; leftovers of dead runs go in any case."""
    for name in args.names or [host.name for host in lab.hosts()]:
        lab.down(name, purge=args.purge)
    lifecycle.sweep(var_folder())
    return 0


def _list(args: argparse.Namespace) -> int:
    found = [_describe(host) for host in lab.hosts()]
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for one in found:
        print("{name:20} {release:9} {pool:6} {state:8} {address:15} {leader}".format(**one))
    if not found:
        print("no lab host; `python3 -m lab up NAME` makes one")
    return 0


def _enter(name: str, command: Sequence[str]) -> int:
    """Become the command in the host: its streams are ours, its exit code is ours."""
    host = lab.get(name)
    if not host.running:
        raise lab.LabError(f"host {name} is not up", todo=f"run `python3 -m lab up {name}`")
    term = {"TERM": os.environ["TERM"]} if "TERM" in os.environ else {}
    argv = host.entering(command)
    os.execve(argv[0], argv, inside.environment(term))  # noqa: S606 (no shell is the point)


def _shell(args: argparse.Namespace) -> int:
    return _enter(args.name, ["/bin/bash", "-l"])


def _exec(args: argparse.Namespace) -> int:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise lab.LabError("no command is given", todo="python3 -m lab exec NAME -- CMD ARGS")
    return _enter(args.name, command)


def _build(args: argparse.Namespace) -> int:
    for release in args.release or images.RELEASES:
        began = time.monotonic()
        path = images.ensure(var_folder(), release, _say)
        print(f"{path} ({time.monotonic() - began:.1f} s)")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line as documented in docs/lab.md."""
    top = argparse.ArgumentParser(prog="python3 -m lab", description=lab.__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    verbs = top.add_subparsers(required=True, metavar="VERB")
    one = verbs.add_parser("up", help="bring a host up and wait until it runs")
    one.add_argument("name")
    one.add_argument("--release", choices=images.RELEASES, default="bookworm")
    one.add_argument("--pool", choices=("btrfs", "ext4"), default="btrfs")
    one.add_argument("--pool-size", default="10G", metavar="SIZE")
    one.add_argument("--json", action="store_true")
    one.set_defaults(act=_up)
    one = verbs.add_parser("down", help="take hosts down (all when none is named)")
    one.add_argument("names", nargs="*", metavar="NAME")
    one.add_argument("--purge", action="store_true", help="remove their state too")
    one.set_defaults(act=_down)
    one = verbs.add_parser("list", help="what hosts there are")
    one.add_argument("--json", action="store_true")
    one.set_defaults(act=_list)
    one = verbs.add_parser("shell", help="a login shell in a host")
    one.add_argument("name")
    one.set_defaults(act=_shell)
    one = verbs.add_parser("exec", help="run a command in a host; its exit code is ours")
    one.add_argument("name")
    one.add_argument("command", nargs=argparse.REMAINDER)
    one.set_defaults(act=_exec)
    one = verbs.add_parser("build", help="build the images that are missing")
    one.add_argument("--release", choices=images.RELEASES, action="append")
    one.set_defaults(act=_build)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when all went well, 1 with the reason on standard error when not."""
    args = parser().parse_args(argv)
    try:
        return int(args.act(args))
    except lab.LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
