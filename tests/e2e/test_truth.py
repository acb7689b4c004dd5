"""Truth is on the host: what is done by hand there shows in the portal."""

from __future__ import annotations

import pytest

from tests.stack import Stack, wait_for

pytestmark = pytest.mark.e2e


def test_what_an_administrator_does_by_hand_shows(stack: Stack) -> None:
    api, host = stack.api, stack.hosts["lab1"]
    container, job = api.create("byhand", "lab1")
    api.done(job, timeout=300)
    api.state(container, "running")
    host.run(["systemctl", "stop", "systemd-nspawn@byhand"])
    api.state(container, "stopped", timeout=10)
    host.run(["systemctl", "start", "systemd-nspawn@byhand"])
    api.state(container, "running", timeout=15)
    host.run(["systemctl", "stop", "systemd-nspawn@byhand"])
    host.run(["machinectl", "remove", "byhand"])
    api.state(container, "missing", timeout=90)
    api.done(api.remove(container))


def test_a_name_that_a_hand_made_machine_has_is_refused_and_the_machine_stays(stack: Stack) -> None:
    api, host = stack.api, stack.hosts["lab1"]
    first, job = api.create("origin", "lab1", start=False)
    api.done(job, timeout=300)
    host.run(["machinectl", "clone", "origin", "foreign"])
    answer = api.client.post("/containers", json={"name": "foreign", "host": "lab1", "release": "debian-bookworm"})
    if answer.status_code == 202:  # the inventory had not come yet: then the host refuses
        over = api.job_over(answer.json()["job"])
        assert over["state"] == "failed" and over["failure"]["code"] == "name_taken", over
        api.done(api.remove(answer.json()["container"]))
    else:
        assert answer.status_code == 409, answer.text
    assert host.run(["machinectl", "show-image", "foreign", "-p", "Name"]).stdout.strip() == "Name=foreign"
    host.run(["machinectl", "remove", "foreign"])
    api.done(api.remove(first))


def test_a_host_that_is_off_keeps_its_queue_and_works_it_off(stack: Stack) -> None:
    api, host = stack.api, stack.hosts["lab1"]
    container, job = api.create("patient", "lab1", start=False)
    api.done(job, timeout=300)

    def online() -> bool:
        return bool(next(h for h in api.get("/hosts")["items"] if h["name"] == "lab1")["online"])

    host.disconnect()
    try:
        wait_for("the host to show as offline", lambda: not online(), timeout=40)
        start = api.act(container, "start")
        assert api.get(f"/jobs/{start['id']}")["state"] == "queued"
    finally:
        host.reconnect()
    api.done(start, timeout=90)
    api.state(container, "running")
    api.done(api.remove(container))
