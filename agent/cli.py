"""The program nspawnweb-agent."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from agent import VERSION, doctor, machines, paths
from agent.config import Config
from agent.enrol import enrol, forget
from agent.errors import AgentError, ConfigError
from agent.pinned import Trust
from agent.systemd.bus import Bus
from contract.live import CheckResult, HostFacts, InventoryReport


def _config() -> Config | None:
    try:
        return Config.load()
    except ConfigError as error:
        if error.why.endswith("does not exist."):
            return None
        raise


async def _facts() -> HostFacts:
    checks = await doctor.examine(None)
    async with Bus.session() as bus:
        return await machines.host_facts(bus, checks)


def _enrol(args: argparse.Namespace) -> int:
    trust = Trust(args.pin or "", args.ca)
    from_input = args.token == "-"  # noqa: S105 - the sign for standard input
    token = sys.stdin.readline().strip() if from_input else args.token
    config = enrol(args.url, token, trust, asyncio.run(_facts()), paths.etc_dir(), force=args.force)
    print(f"This host is enrolled as {config.name} ({config.host}).")
    return 0


def _doctor(args: argparse.Namespace) -> int:
    checks = asyncio.run(doctor.examine(_config()))
    if args.json:
        print(json.dumps([check.model_dump(mode="json") for check in checks], indent=1))
    else:
        print(doctor.as_text(checks))
    return int(any(check.result is CheckResult.FAIL for check in checks))


async def _report() -> InventoryReport:
    async with Bus.session() as bus:
        return InventoryReport(
            at=datetime.now(UTC),
            facts=await machines.host_facts(bus),
            machines=await machines.list_machines(bus),
            images=machines.list_images(),
        )


def _inventory(args: argparse.Namespace) -> int:
    report = asyncio.run(_report())
    if args.json:
        print(report.model_dump_json(indent=1))
        return 0
    for machine in report.machines:
        print(f"{machine.name:32} {machine.state.value:10} {' '.join(machine.addresses)}")
    for image in report.images:
        print(f"{image.name:60} {image.built:%Y-%m-%d %H:%M}")
    return 0


def _run(args: argparse.Namespace) -> int:
    # Each service loads only what it needs: the live one has no Celery, the jobs one no terminals.
    if args.service == "jobs":
        from agent.supervise import supervise

        Config.load()
        return asyncio.run(supervise())
    if args.service == "worker":
        from agent.jobs import work

        work(Config.load())
        return 0
    from agent import log
    from agent.live.service import run

    log.setup()
    run(Config.load())
    return 0


def _forget(args: argparse.Namespace) -> int:
    forget(paths.etc_dir())
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="nspawnweb-agent", description="The host agent of nspawnweb.")
    top.add_argument("--version", action="version", version=VERSION)
    verbs = top.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, act: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=help_)
        one.set_defaults(act=act)
        return one

    one = verb("enrol", _enrol, "make this host known to a portal")
    one.add_argument("url", help="the portal's address for hosts, https://HOST:PORT")
    one.add_argument("--token", required=True, help="the one-time token; - reads it from standard input")
    known = one.add_mutually_exclusive_group()
    known.add_argument("--pin", help="sha256//BASE64 of the portal's public key")
    known.add_argument("--ca", type=Path, help="a file with the CA of the portal's certificate")
    one.add_argument("--force", action="store_true", help="also if this host is enrolled already")
    one = verb("doctor", _doctor, "what this host lacks, and how to mend it")
    one.add_argument("--json", action="store_true")
    one = verb("inventory", _inventory, "containers and base images of this host")
    one.add_argument("--json", action="store_true")
    one = verb("run", _run, "run a service of the agent (its units do)")
    one.add_argument("service", choices=("jobs", "live", "worker"))
    verb("forget", _forget, "remove this host's keys and certificates")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; errors in plain words on standard error, exit code 1."""
    args = parser().parse_args(argv)
    try:
        return int(args.act(args))
    except AgentError as error:
        print(f"nspawnweb-agent: {error.what}", file=sys.stderr)
        for line in filter(None, (error.why, error.hint)):
            print(f"  {line}", file=sys.stderr)
        return 1
