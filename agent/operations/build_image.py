"""Build a base image: bootstrap in a transient unit, prepare, store read-only under the recipe's name."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from dbus_fast import Variant

from agent import locks, machines, paths, records
from agent.errors import AgentError, TimedOut
from agent.operations import diagnosis, identity, recipe, trees
from agent.operations.context import Context, Plan, scratch_of, unit_of
from agent.operations.follow import follow_unit, last_lines
from agent.systemd.systemd1 import JobFailed
from contract.live import ImageInfo
from contract.orders import BuildImage
from contract.releases import BuildTool, ReleaseSpec

SPACE_BYTES = 700 * 2**20
"""What a small system takes while it is bootstrapped: 250 to 350 MiB, its packages, and room to breathe."""
LIMIT_S = 2 * 3600
_EXIT_EXEC = 203
"""The program could not be executed (systemd.exec(5), process exit codes)."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXY = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

BUILD_STEPS: Plan = [
    ("bootstrap", "Bootstrap the base image"),
    ("prepare", "Prepare the base image"),
    ("store", "Store the base image"),
]


def plan(params: BuildImage) -> Plan:
    return BUILD_STEPS


async def run(ctx: Context, params: BuildImage) -> dict[str, Any]:
    """The operation: build the base unless it stands; with `rebuild` in any case."""
    info = await ensure_base(ctx, params.release, rebuild=params.rebuild)
    return {"image": info.name, "fingerprint": info.fingerprint, "image_bytes": info.bytes}


def stands(release: ReleaseSpec) -> bool:
    """A base image under its own name is whole: it gets that name at the very end."""
    return (paths.MACHINES / records.base_name(release)).is_dir()


@dataclass(frozen=True)
class Build:
    """A build in the works: `job` began it, perhaps in a run that was cut off, perhaps another job than ours."""

    job: UUID

    @property
    def unit(self) -> str:
        return unit_of(self.job)

    @property
    def scratch(self) -> str:
        return scratch_of(self.job)

    @property
    def tree(self) -> Path:
        return paths.MACHINES / self.scratch


async def ensure_base(ctx: Context, release: ReleaseSpec, *, rebuild: bool = False) -> ImageInfo:
    """The release's base image. Whoever comes while it is being built waits and shares it."""
    name = records.base_name(release)

    async with locks.hold(locks.image(name), on_wait=lambda: tell_of_wait(ctx, name)):
        if ctx.attempt > 1 and _stored_before(ctx, release):
            rebuild = False
        if not rebuild and stands(release):
            await clear(ctx, Build(ctx.job))
            skip_steps(ctx)
            return await _seal(ctx, release)
        return await _build(ctx, release)


def tell_of_wait(ctx: Context, name: str) -> None:
    ctx.output([f"Another job is building {name}; waiting for it."])


def skip_steps(ctx: Context) -> None:
    """The base stands: steps of building it that were planned and not taken are needless."""
    for key, _ in BUILD_STEPS:
        ctx.skip(key)


def _stored_before(ctx: Context, release: ReleaseSpec) -> bool:
    """An interrupted run of this very job had come to the end of its build."""
    return stands(release) and not Build(ctx.job).tree.exists() and records.builder(release) == (ctx.job, True)


async def undo(ctx: Context, params: BuildImage) -> None:
    """For a job that is given up."""
    await clear(ctx, Build(ctx.job))


async def clear(ctx: Context, build: Build) -> None:
    """Stop the build's unit and remove its tree; there may be neither."""
    await ctx.drop_unit(build.unit)
    await trees.remove_image(ctx, build.scratch)


async def _build(ctx: Context, release: ReleaseSpec) -> ImageInfo:
    build = await _in_the_works(ctx, release) or Build(ctx.job)
    try:
        return await _steps(ctx, release, build)
    except BaseException:
        await clear(ctx, build)
        records.drop_builder(release)
        raise


async def _in_the_works(ctx: Context, release: ReleaseSpec) -> Build | None:
    """The agent died in a build, but its unit did not: whichever job comes first takes it over."""
    job, _ = records.builder(release)
    if job is None or not Build(job).tree.is_dir():
        return None
    unit = await ctx.systemd.unit(Build(job).unit)
    return Build(job) if unit["LoadState"] == "loaded" and unit["ActiveState"] != "inactive" else None


async def _steps(ctx: Context, release: ReleaseSpec, build: Build) -> ImageInfo:
    with ctx.step("bootstrap"):
        argv = recipe.argv(release, build.tree)
        if build != await _in_the_works(ctx, release):
            trees.require_space(SPACE_BYTES)
            await clear(ctx, build)
            records.write_builder(release, build.job, stored=False)
            await trees.fresh_tree(ctx, build.scratch)
            await _start(ctx, release, build, argv)
        await _await_bootstrap(ctx, release, build)
    with ctx.step("prepare"):
        identity.prepare_base(build.tree, release)
        await trees.run(ctx, "systemctl", f"--root={build.tree}", "enable", "--", *identity.services(build.tree))
    with ctx.step("store"):
        await ctx.drop_unit(build.unit)
        await trees.run(ctx, "sync", "--file-system", str(build.tree))
        return await _store(ctx, release, build)


async def _start(ctx: Context, release: ReleaseSpec, build: Build, argv: list[str]) -> None:
    program = shutil.which(argv[0], path=_PATH)
    if program is None:
        raise AgentError(
            f"{argv[0]} is not installed on this host.", code="tool_missing", hint=f"apt-get install {argv[0]}"
        )
    ctx.command(*argv)
    properties = {
        "Description": Variant("s", f"Bootstrap {release.slug} for job {build.job}"),
        "Type": Variant("s", "exec"),
        "ExecStart": Variant("a(sasb)", [[program, argv, False]]),
        "Environment": Variant("as", _environment()),
        "StandardInput": Variant("s", "null"),
        "SyslogIdentifier": Variant("s", "nspawnweb-build"),
        "RemainAfterExit": Variant("b", True),
        "RuntimeMaxUSec": Variant("t", LIMIT_S * 1_000_000),
        "PrivateMounts": Variant("b", True),
        "PrivateTmp": Variant("b", True),
        "CPUWeight": Variant("t", 20),
        "IOWeight": Variant("t", 20),
        "LogRateLimitIntervalUSec": Variant("t", 0),
    }
    try:
        await ctx.systemd.start_transient(build.unit, properties)
    except JobFailed as error:
        # One that ends with an error at once counts as not started: its output tells why, as that of any other.
        if (await ctx.systemd.service(build.unit))["ExecMainStatus"] == _EXIT_EXEC:
            raise AgentError(f"{argv[0]} could not be started.", why=error.why, code="tool_missing") from error


def _environment() -> list[str]:
    """A clean one, but for proxies that the agent's unit was given."""
    proxies = [f"{name}={os.environ[name]}" for name in _PROXY if name in os.environ]
    return [f"PATH={_PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "HOME=/root", *proxies]


async def _await_bootstrap(ctx: Context, release: ReleaseSpec, build: Build) -> None:
    progress = diagnosis.BuildProgress()

    def on_line(line: str) -> None:
        if moved := progress.feed(line):
            ctx.progress(*moved)

    service = await follow_unit(ctx, build.unit, on_line)
    result, status = service["Result"], service["ExecMainStatus"]
    if result == "timeout":
        raise TimedOut(f"{release.tool.value} took longer than {LIMIT_S // 3600} hours.")
    if result != "success" or status != 0:
        lines = await last_lines(build.unit, 400)
        if release.tool is BuildTool.DEBOOTSTRAP:
            raise await diagnosis.explain_debootstrap(release, lines, recipe.release_file(release))
        raise diagnosis.explain(release, lines)


async def _store(ctx: Context, release: ReleaseSpec, build: Build) -> ImageInfo:
    name = records.base_name(release)
    if stands(release):
        ctx.command("machinectl", "remove", name)
        await trees.remove_image(ctx, name)
    ctx.command("mv", "--no-target-directory", str(build.tree), str(paths.MACHINES / name))
    records.drop_image(name)
    records.write_builder(release, ctx.job, stored=True)
    trees.rename_new(build.tree, paths.MACHINES / name)
    ctx.command("machinectl", "read-only", name, "true")
    return await _seal(ctx, release)


async def _seal(ctx: Context, release: ReleaseSpec) -> ImageInfo:
    """Read-only and on record; both may be so already."""
    name = records.base_name(release)
    known = [image for image in records.images() if image.name == name]
    if known:
        return known[0]
    place = paths.MACHINES / name
    size = await asyncio.to_thread(trees.tree_bytes, place)
    await ctx.machined.mark_read_only(name)
    return records.write_image(release, bytes_=size)


def cloning_space(release: ReleaseSpec) -> int:
    """Bytes that a clone of the base needs at once: little as a snapshot, all of it as a copy."""
    if machines.pool_fs() == "btrfs":
        return 64 * 2**20
    name = records.base_name(release)
    size = next((image.bytes for image in records.images() if image.name == name), None)
    return 64 * 2**20 + (size or SPACE_BYTES)
