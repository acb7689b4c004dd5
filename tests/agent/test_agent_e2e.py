"""The agent on real hosts: installed from the bundle, driven by signed orders, and made to fail.

The hosts share what is slow: one base image is built on each, in the first test that needs it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lab
from agent.packaging import bundle
from contract.events import Outcome
from contract.releases import Distribution
from lab.paths import var_folder
from tests.agent.agent_lab import BOOKWORM, JOBS_UNIT, AgentHost, install
from tests.agent.small_portal import SmallPortal, wait_until

pytestmark = pytest.mark.e2e
MIRROR = f"deb.{Distribution.DEBIAN}.org"
"""What Debian containers ask for packages by default."""
HASH = "$6$abcdefgh$" + "Z" * 86


@pytest.fixture(scope="session")
def agent_bundle() -> Path:
    """Made once for all runs of the tests from this tree."""
    place = var_folder() / "test-agent-bundle"
    bundle.make(place)
    return place


def _host(name: str, release: str, pool: str, size: str, made: Path) -> Iterator[AgentHost]:
    host = lab.up(name, release=release, pool=pool, pool_size=size)
    with tempfile.TemporaryDirectory(prefix="nspawnweb-agent-") as folder:
        portal = SmallPortal(Path(folder), host.gateway, made)
        try:
            yield install(host, portal)
        finally:
            portal.close()
            lab.down(name, purge=True)


@pytest.fixture(scope="module")
def bookworm(agent_bundle: Path) -> Iterator[AgentHost]:
    """Debian 12 with systemd 252 and a btrfs pool."""
    yield from _host("agent-bookworm", "bookworm", "btrfs", "6G", agent_bundle)


@pytest.fixture(scope="module")
def trixie(agent_bundle: Path) -> Iterator[AgentHost]:
    """Debian 13 with systemd 257 and a small pool on ext4."""
    yield from _host("agent-trixie", "trixie", "ext4", "3G", agent_bundle)


@pytest.fixture
def beta(bookworm: AgentHost) -> None:
    """A running container; tests leave it so."""
    if bookworm.do("host.inventory").result["machines"].get("beta") != "running":
        bookworm.do("container.remove", name="beta")
        assert bookworm.do("container.create", name="beta", release=BOOKWORM).outcome is Outcome.SUCCEEDED


def _free(host: AgentHost) -> int:
    return int(host.run("df", "--output=avail", "-B1", "/var/lib/machines").split()[-1])


# --- bookworm, btrfs ------------------------------------------------------------------------------------------------


def test_a_worker_killed_in_mid_build_goes_on_where_it_was_and_two_creates_share_the_build(bookworm: AgentHost) -> None:
    first = bookworm.send("container.create", name="alpha", release=BOOKWORM, root_password_hash=HASH, autostart=True)
    bookworm.until_line(first, "extracting archives")
    second = bookworm.send("container.create", name="beta", release=BOOKWORM)
    bookworm.until_line(second, "Another job is building")
    bookworm.run("systemctl", "kill", "--signal=SIGKILL", JOBS_UNIT)

    for order in (first, second):
        end = bookworm.end(order)
        assert (end.outcome, end.result["state"]) == (Outcome.SUCCEEDED, "running"), end
        assert bookworm.attempts(order) == [1, 2]
        assert [event.seq for event in bookworm.events(order)] == list(range(1, len(bookworm.events(order)) + 1))
    stored = [order for order in (first, second) if ("store", "done") in bookworm.steps(order)]
    assert len(stored) == 1, "the base was built once"
    configured = [line for line in bookworm.lines(stored[0]) if line.startswith("Setting up systemd-sysv")]
    assert len(configured) == 1, "output comes once, whatever happened to the worker"
    bookworm.nothing_half_made()


def test_clones_have_an_identity_of_their_own(bookworm: AgentHost) -> None:
    run = ("systemd-run", "--quiet", "--pipe", "--wait", "--machine")
    ids = [bookworm.run(*run, name, "cat", "/etc/machine-id").strip() for name in ("alpha", "beta")]
    assert len(set(ids)) == 2 and all(len(one) == 32 for one in ids)
    assert bookworm.run(*run, "alpha", "hostname").strip() == "alpha"
    assert f"root:{HASH}:" in bookworm.run(*run, "alpha", "cat", "/etc/shadow")
    assert "root:*:" in bookworm.run(*run, "beta", "cat", "/etc/shadow")
    users = bookworm.run("machinectl", "show", "alpha", "--property=Leader", "--value").strip()
    assert bookworm.run("cat", f"/proc/{users}/uid_map").split()[1] != "0", "root inside is nobody outside"
    assert "enabled" in bookworm.run("systemctl", "is-enabled", "systemd-nspawn@alpha.service")


@pytest.mark.usefixtures("beta")
def test_a_container_resolves_and_reaches_the_network(bookworm: AgentHost) -> None:
    argv = ("systemd-run", "--quiet", "--pipe", "--wait", "--machine=beta", "resolvectl", "query", MIRROR)
    wait_until(lambda: f"{MIRROR}:" in bookworm.run(*argv, check=False), 60, "an answer of the resolver")


def test_power_and_password(bookworm: AgentHost) -> None:
    shadow = ("systemd-run", "--quiet", "--pipe", "--wait", "--machine=beta", "cat", "/etc/shadow")
    assert bookworm.do("container.password", name="beta", root_password_hash=HASH).outcome is Outcome.SUCCEEDED
    assert f"root:{HASH}:" in bookworm.run(*shadow)
    for kind, state in (("stop", "stopped"), ("stop", "stopped"), ("start", "running"), ("start", "running"),
                        ("restart", "running"), ("kill", "stopped")):  # fmt: skip
        end = bookworm.do(f"container.{kind}", name="beta")
        assert (end.outcome, end.result["state"]) == (Outcome.SUCCEEDED, state), (kind, end)
    other = HASH.replace("Z", "Y")
    assert bookworm.do("container.password", name="beta", root_password_hash=other).outcome is Outcome.SUCCEEDED
    assert bookworm.do("container.start", name="beta").outcome is Outcome.SUCCEEDED
    assert f"root:{other}:" in bookworm.run(*shadow)
    assert bookworm.do("container.disable", name="alpha").result == {"enabled": False}
    assert bookworm.do("container.enable", name="alpha").result == {"enabled": True}
    assert bookworm.do("host.inventory").result["machines"] == {"alpha": "running", "beta": "running"}


@pytest.mark.usefixtures("beta")
def test_a_name_that_is_taken_fails_and_touches_nothing(bookworm: AgentHost) -> None:
    end = bookworm.do("container.create", name="beta", release=BOOKWORM)
    assert end.failure is not None and end.failure.code == "name_taken"
    assert bookworm.do("host.inventory").result["machines"]["beta"] == "running"


def test_acts_on_what_is_not_there(bookworm: AgentHost) -> None:
    for kind in ("start", "stop", "restart", "kill", "enable"):
        end = bookworm.do(f"container.{kind}", name="ghost")
        assert end.failure is not None and end.failure.code == "not_found", kind
    assert bookworm.do("container.remove", name="ghost").result == {"existed": False}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"packages": ["no-such-package-anywhere"]}, "package_unknown", "no-such-package-anywhere"),
        ({"mirror": "http://127.0.0.1:9/debian"}, "mirror_unreachable", "cannot be reached"),
        ({"mirror": "http://mirror.invalid/debian"}, "mirror_unreachable", "cannot be reached"),
        ({"suite": "nosuchsuite"}, "suite_unknown", "nosuchsuite"),
        ({"tool": "debootstrap", "suite": "nosuchsuite"}, "suite_unknown", "nosuchsuite"),
        ({"tool": "debootstrap", "mirror": "http://127.0.0.1:9/debian"}, "mirror_unreachable", "cannot be reached"),
        ({"distribution": "ubuntu", "suite": "noble"}, "keyring_missing", "verify ubuntu"),
    ],
)  # fmt: skip
def test_a_release_that_cannot_be_built_says_why_and_leaves_nothing(
    bookworm: AgentHost, change: dict[str, object], code: str, words: str
) -> None:
    release = BOOKWORM | {"slug": "bad"} | change
    order = bookworm.send("container.create", name="bad", release=release)
    end = bookworm.end(order)
    assert end.outcome is Outcome.FAILED and end.failure is not None
    assert end.failure.code == code, end.failure
    assert words in end.failure.what, end.failure
    bookworm.nothing_half_made()
    assert bookworm.traces_of("bad") == []


def test_a_cancel_in_mid_build_leaves_nothing(bookworm: AgentHost) -> None:
    order = bookworm.send("image.build", release=BOOKWORM | {"slug": "late", "packages": ["file"]})
    bookworm.until_line(order, "Get:")
    bookworm.portal.cancel(bookworm.id, order.job)
    end = bookworm.end(order, 60)
    assert end.outcome is Outcome.CANCELLED
    bookworm.nothing_half_made()
    assert bookworm.traces_of("nspawnweb-base-late") == []


def test_a_cancel_in_mid_create_leaves_nothing(bookworm: AgentHost) -> None:
    order = bookworm.send("container.create", name="early", release=BOOKWORM)
    wait_until(lambda: ("start", "running") in bookworm.steps(order), 60, "the boot")
    bookworm.portal.cancel(bookworm.id, order.job)
    end = bookworm.end(order, 60)
    assert end.outcome is Outcome.CANCELLED, end
    bookworm.nothing_half_made()
    assert bookworm.traces_of("early") == []


def test_a_cancel_before_the_order_comes_holds(bookworm: AgentHost) -> None:
    order = bookworm.portal.order(bookworm.id, {"kind": "container.create", "name": "never", "release": BOOKWORM})
    bookworm.portal.cancel(bookworm.id, order.job)
    time.sleep(0.5)  # the signed request and the order travel by different streams
    bookworm.portal.publish(bookworm.id, order)
    assert bookworm.end(order).outcome is Outcome.CANCELLED
    assert bookworm.traces_of("never") == []


def test_a_container_that_does_not_boot_is_taken_back(bookworm: AgentHost) -> None:
    """An administrator's drop-in for all containers breaks the boot; the reason is in the failure."""
    place = "/etc/systemd/system/systemd-nspawn@broken.service.d"
    bookworm.run("mkdir", "-p", place)
    bookworm.host.run(["tee", f"{place}/10-broken.conf"], input="[Service]\nExecStartPre=/bin/false\n")
    end = bookworm.do("container.create", name="broken", release=BOOKWORM)
    assert end.failure is not None and end.failure.code == "boot_failed"
    bookworm.nothing_half_made()
    assert bookworm.traces_of("broken") == []


@pytest.mark.usefixtures("beta")
def test_an_order_runs_once_and_a_redelivery_only_says_its_end_again(bookworm: AgentHost) -> None:
    order = bookworm.send("container.stop", name="beta")
    bookworm.end(order)
    bookworm.do("container.start", name="beta")
    before = len(bookworm.events(order))
    bookworm.portal.publish(bookworm.id, order)
    wait_until(lambda: len(bookworm.events(order)) > before, 60, "its last event again")
    assert bookworm.events(order)[-1] == bookworm.events(order)[before - 1]
    assert bookworm.do("host.inventory").result["machines"]["beta"] == "running"


@pytest.mark.usefixtures("beta")
def test_jobs_go_on_while_redis_is_away_and_orders_are_taken_when_it_is_back(bookworm: AgentHost) -> None:
    order = bookworm.send("container.restart", name="beta")
    wait_until(lambda: bookworm.attempts(order), 60, "its beginning")
    bookworm.portal.stop_redis()
    time.sleep(2)  # long enough for the job to end with nobody to tell
    bookworm.portal.start_redis()
    assert bookworm.end(order, 60).outcome is Outcome.SUCCEEDED
    assert bookworm.attempts(order) == [1]
    assert bookworm.do("host.inventory", 60).outcome is Outcome.SUCCEEDED


def test_remove_leaves_nothing(bookworm: AgentHost) -> None:
    bookworm.run("systemctl", "set-property", "systemd-nspawn@beta.service", "TasksMax=4000")
    for name in ("alpha", "beta"):
        assert bookworm.do("container.remove", name=name).result == {"existed": True}
        assert bookworm.traces_of(name) == []
    again = bookworm.do("container.create", name="beta", release=BOOKWORM)
    assert again.outcome is Outcome.SUCCEEDED
    assert bookworm.do("container.remove", name="beta").outcome is Outcome.SUCCEEDED


def test_upgrade_keeps_the_enrolment_and_uninstall_keeps_containers(bookworm: AgentHost) -> None:
    hosts = dict(bookworm.portal.hosts)
    out = bookworm.run(*bookworm.portal.install_line(""), timeout=300)
    assert "done" in out and bookworm.portal.hosts == hosts
    assert bookworm.do("host.inventory").outcome is Outcome.SUCCEEDED
    used = bookworm.host.run(bookworm.portal.install_line("used-up-token"), check=False, timeout=300)
    assert used.returncode == 0 and bookworm.portal.hosts == hosts, "an enrolled host stays as it is"
    fetch = f"curl -fsSk {bookworm.portal.url}/agent/install.sh -o /tmp/i.sh && sh /tmp/i.sh uninstall"
    bookworm.run("sh", "-c", fetch)
    assert bookworm.run("sh", "-c", "ls -d /opt/nspawnweb-agent /etc/nspawnweb-agent || true").strip() == ""
    assert "nspawnweb-base-debian-bookworm" in bookworm.run("machinectl", "list-images")


# --- trixie, ext4 ---------------------------------------------------------------------------------------------------


def test_the_main_road_on_systemd_257_and_a_plain_pool(trixie: AgentHost) -> None:
    order = trixie.send("container.create", name="alpha", release=BOOKWORM | {"tool": "debootstrap"})
    end = trixie.end(order)
    assert (end.outcome, end.result["state"]) == (Outcome.SUCCEEDED, "running"), end
    for kind, state in (("stop", "stopped"), ("start", "running"), ("restart", "running"), ("kill", "stopped")):
        assert trixie.do(f"container.{kind}", name="alpha").result["state"] == state
    assert trixie.do("container.password", name="alpha", root_password_hash=HASH).outcome is Outcome.SUCCEEDED
    assert trixie.do("container.start", name="alpha").outcome is Outcome.SUCCEEDED
    trixie.nothing_half_made()


def test_a_pool_without_room_refuses_before_it_begins(trixie: AgentHost) -> None:
    trixie.run("fallocate", "-l", str(_free(trixie) - 50 * 2**20), "/var/lib/machines/filler")
    try:
        end = trixie.do("container.create", name="beta", release=BOOKWORM | {"tool": "debootstrap"})
    finally:
        trixie.run("rm", "/var/lib/machines/filler")
    assert end.failure is not None and end.failure.code == "disk_full"
    assert trixie.traces_of("beta") == []
    trixie.nothing_half_made()


def test_a_pool_that_fills_up_in_mid_build_fails_and_is_cleaned(trixie: AgentHost) -> None:
    free = _free(trixie)
    order = trixie.send("container.create", name="beta", release=BOOKWORM | {"slug": "full"})
    trixie.until_line(order, "downloading packages")
    trixie.run("fallocate", "-l", str(_free(trixie) - 60 * 2**20), "/var/lib/machines/filler")
    try:
        end = trixie.end(order)
    finally:
        trixie.run("rm", "/var/lib/machines/filler")
    assert end.failure is not None and end.failure.code == "disk_full", end
    assert trixie.traces_of("beta") == []
    trixie.nothing_half_made()
    assert _free(trixie) > free - 20 * 2**20, "its space is free again"


def test_remove_on_a_plain_pool(trixie: AgentHost) -> None:
    assert trixie.do("container.remove", name="alpha").result == {"existed": True}
    assert trixie.traces_of("alpha") == []
