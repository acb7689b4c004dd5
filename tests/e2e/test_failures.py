"""Pull the plug, type wrong things: every job ends in a true state, and nothing half-made stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.stack import Json, Stack, wait_for

pytestmark = pytest.mark.e2e


@contextmanager
def release(stack: Stack, slug: str, **fields: object) -> Iterator[None]:
    """A release for one test, as an operator would edit the data."""
    values = {
        "slug": slug, "title": slug, "distribution": "debian", "suite": "bookworm", "components": ["main"], **fields
    }  # fmt: skip
    stack.dev("manage", "shell", "-c", f"from machines.models import Release; Release.objects.create(**{values!r})")
    try:
        yield
    finally:
        stack.dev(
            "manage",
            "shell",
            "-c",
            f"from machines.models import Release; Release.objects.filter(slug={slug!r}).delete()",
        )


def nothing_left(stack: Stack, *names: str) -> None:
    """No image, setting, unit or scratch tree of a failed job is on the host."""
    host = stack.hosts["lab1"]
    units = host.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "nspawnweb-*"]).stdout
    running = [line for line in units.splitlines() if "nspawnweb-agent" not in line]
    assert running == []
    images = host.run(["find", "/var/lib/machines", "-mindepth", "1", "-maxdepth", "1"]).stdout
    settings = host.run(["find", "/etc/systemd/nspawn", "/etc/systemd/system"], check=False).stdout
    for name in names:
        assert f"/{name}" not in images and f"{name}." not in settings, (images, settings)


def failed(stack: Stack, job: Json, code: str, *, timeout: float = 120) -> Json:
    over = stack.api.job_over(job, timeout=timeout)
    assert over["state"] == "failed", over
    assert over["failure"]["code"] == code, over["failure"]
    assert over["failure"]["what"] and over["failure"]["hint"], over["failure"]
    return over


def test_an_unreachable_mirror_fails_in_plain_words_and_retry_works_once_it_is_mended(stack: Stack) -> None:
    api = stack.api
    with release(stack, "away", mirror="http://127.0.0.1:9/debian"):
        container, job = api.create("lonely", "lab1", release="away", start=False)
        failed(stack, job, "mirror_unreachable")
        assert api.state(container, "failed")["state"] == "failed"
        nothing_left(stack, "lonely")
        stack.dev(
            "manage", "shell", "-c",
            "from machines.models import Release; Release.objects.filter(slug='away').update(mirror='')",
        )  # fmt: skip
        again = api.post(f"/jobs/{job['id']}/retry")["job"]
        api.done(again, timeout=300)
        api.state(container, "stopped")
        api.done(api.remove(container))


def test_an_unknown_package_is_named(stack: Stack) -> None:
    with release(stack, "wrong-package", packages=["no-such-package-at-all"]):
        container, job = stack.api.create("unknown", "lab1", release="wrong-package")
        over = failed(stack, job, "package_unknown", timeout=200)
        assert "no-such-package-at-all" in over["failure"]["what"] + over["failure"]["why"]
        nothing_left(stack, "unknown")
        stack.api.done(stack.api.remove(container))


def test_a_cancelled_build_leaves_nothing(stack: Stack) -> None:
    api = stack.api
    with release(stack, "slow", packages=["cowsay"]):
        container, job = api.create("halfway", "lab1", release="slow")
        wait_for(
            "the build to say something",
            lambda: [e for e in api.get(f"/jobs/{job['id']}/events")["items"] if e["type"] == "output"],
            timeout=60,
        )
        api.post(f"/jobs/{job['id']}/cancel")
        over = api.job_over(job, timeout=30)
        assert over["state"] == "cancelled", over
        wait_for("clean host", lambda: nothing_left(stack, "halfway") is None)
        api.done(api.remove(container))


def agent_pid(stack: Stack, unit: str) -> int:
    shown = stack.hosts["lab1"].run(["systemctl", "show", "-p", "MainPID", "--value", unit]).stdout
    return int(shown)


@pytest.mark.parametrize("victim", ["nspawnweb-agent-jobs", "nspawnweb-agent-live"])
def test_a_killed_agent_ends_its_job_all_the_same(stack: Stack, victim: str) -> None:
    api, host = stack.api, stack.hosts["lab1"]
    slug = f"kill-{victim[-4:]}"
    with release(stack, slug, packages=["cowsay", "sl"] if victim.endswith("jobs") else ["sl"]):
        container, job = api.create(f"survivor-{victim[-4:]}", "lab1", release=slug)
        wait_for(
            "the build to say something",
            lambda: [e for e in api.get(f"/jobs/{job['id']}/events")["items"] if e["type"] == "output"],
            timeout=60,
        )
        host.run(["systemctl", "kill", "-s", "KILL", victim])
        api.done(job, timeout=200)
        api.state(container, "running")
        events = api.get(f"/jobs/{job['id']}/events", limit=1000)["items"]
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
        api.done(api.remove(container))


@pytest.mark.parametrize("victim", ["redis", "relay", "web", "worker"])
def test_a_killed_part_of_the_portal_comes_back_and_loses_nothing(stack: Stack, victim: str) -> None:
    api = stack.api
    container, job = api.create(f"plug-{victim}", "lab1")
    pid = next(
        int(line.split()[line.split().index("pid") + 1])
        for line in stack.dev("status").splitlines()
        if line.split()[:1] == [victim]
    )
    os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        try:
            return bool(api.client.get(f"/jobs/{job['id']}").status_code == 200)
        except OSError:
            return False
        except Exception as error:  # httpx raises its own kinds while the port is closed
            assert type(error).__module__.startswith("httpx"), error
            return False

    wait_for("the portal to answer again", answers, timeout=30)
    api.done(job, timeout=300)
    api.state(container, "running")
    api.done(api.remove(container))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "name"),
        ("UPPER", "lower-case"),
        ("-x", "letter or digit"),
        ("../etc", "letters"),
        ("a" * 65, "at most"),
        ("a b", "letters"),
        ("x;reboot", "letters"),
        ("nspawnweb-base", "kept"),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_be_right(stack: Stack, name: str, says: str) -> None:
    answer = stack.api.client.post("/containers", json={"name": name, "host": "lab1", "release": "debian-bookworm"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert says in answer.text
