"""A container's whole life through the API, on every lab host; the host itself is asked whether it is true."""

from __future__ import annotations

import json

import pytest

from tests.stack import Stack, wait_for

pytestmark = pytest.mark.e2e
HOSTS = ("lab1", "lab2")


def systemctl(stack: Stack, host: str, *argv: str) -> str:
    return stack.hosts[host].run(["systemctl", *argv], check=False).stdout.strip()


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_container_lives_from_create_to_remove(stack: Stack, host: str) -> None:
    api, lab_host = stack.api, stack.hosts[host]
    container, job = api.create("life", host)
    assert container["state"] == "creating"
    api.done(job, timeout=300)
    api.state(container, "running")
    assert lab_host.run(["machinectl", "show", "life", "-p", "State"]).stdout.strip() == "State=running"
    wait_for("an address", lambda: api.get(f"/containers/{container['id']}")["addresses"], timeout=30)

    api.done(api.act(container, "enable"))
    assert systemctl(stack, host, "is-enabled", "systemd-nspawn@life") == "enabled"
    assert api.state(container, "running")["autostart"] is True
    api.done(api.act(container, "disable"))
    assert systemctl(stack, host, "is-enabled", "systemd-nspawn@life") == "disabled"

    leader = lab_host.run(["machinectl", "show", "life", "-p", "Leader"]).stdout
    api.done(api.act(container, "restart"))
    api.state(container, "running")
    assert lab_host.run(["machinectl", "show", "life", "-p", "Leader"]).stdout != leader

    api.done(api.act(container, "stop"))
    api.state(container, "stopped")
    assert systemctl(stack, host, "is-active", "systemd-nspawn@life") == "inactive"
    api.done(api.act(container, "start"))
    api.state(container, "running")
    api.done(api.act(container, "kill"))
    api.state(container, "stopped", "failed")

    api.done(api.remove(container))
    api.call("GET", f"/containers/{container['id']}", expect=404)
    left = lab_host.run(
        ["find", "/var/lib/machines", "/etc/systemd", "-maxdepth", "3", "-name", "*life*"], check=False
    ).stdout
    assert left == ""


def test_each_container_has_an_identity_of_its_own(stack: Stack, host: str) -> None:
    api, lab_host = stack.api, stack.hosts[host]
    made = [api.create(name, host) for name in ("twin-a", "twin-b")]
    for _, job in made:
        api.done(job, timeout=300)
    ids, names = set(), set()
    for container, _ in made:
        api.state(container, "running")
        inside = ["systemd-run", "-q", "-M", container["name"], "--pipe", "--wait", "--collect", "--"]
        ids.add(lab_host.run([*inside, "cat", "/etc/machine-id"]).stdout.strip())
        names.add(lab_host.run([*inside, "hostname"]).stdout.strip())
    assert len(ids) == 2 and all(len(each) == 32 for each in ids)
    assert names == {"twin-a", "twin-b"}
    for container, _ in made:
        api.done(api.remove(container))


def test_a_job_tells_its_story_without_gap_and_without_secrets(stack: Stack) -> None:
    api = stack.api
    container, job = api.create("story", "lab1", root_password="correct horse 7 battery")
    over = api.done(job, timeout=300)
    events = api.get(f"/jobs/{job['id']}/events")["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "started" and events[-1]["type"] == "finished"
    commands = [event["data"]["line"] for event in events if event["type"] == "command"]
    assert any("machinectl clone" in line for line in commands), commands
    assert api.get(f"/jobs/{job['id']}/events", after=events[-2]["seq"])["items"] == events[-1:]
    told = json.dumps([over, events])
    assert "correct horse" not in told and "$6$" not in told

    shadow = stack.hosts["lab1"].run(
        ["systemd-run", "-q", "-M", "story", "--pipe", "--wait", "--collect", "--", "grep", "^root:", "/etc/shadow"]
    )
    assert shadow.stdout.startswith("root:$6$"), "the password was set inside"
    api.done(api.remove(container))


def test_a_container_without_password_has_a_locked_root(stack: Stack) -> None:
    api = stack.api
    container, job = api.create("locked", "lab1", start=False)
    api.done(job, timeout=300)
    assert api.state(container, "stopped")["state"] == "stopped"
    shadow = stack.hosts["lab1"].run(["grep", "^root:", "/var/lib/machines/locked/etc/shadow"]).stdout
    assert shadow.split(":")[1] in {"*", "!", "!*"}
    api.done(api.remove(container))
