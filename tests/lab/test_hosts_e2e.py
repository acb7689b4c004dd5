"""Real hosts: they boot, they are cut off, they crash, they come back, and nothing of them stays."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lab
from lab import images, records, storage
from lab.paths import Place, var_folder

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root"),
]
ROOT = Path(lab.__file__).parent.parent
PACKAGES = "systemd-sysv,dbus,libpam-systemd,iproute2,systemd-resolved,iputils-ping,ca-certificates"
SETTINGS = "[Exec]\nPrivateUsers=pick\nLinkJournal=no\n[Network]\nVirtualEthernet=yes\n"


@pytest.fixture(autouse=True)
def _images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are shared with the clone's own lab; everything else is in a folder of the test."""
    monkeypatch.setenv("NSPAWNWEB_LAB_IMAGES", str(images.image_path(var_folder(), "bookworm").parent))


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for host in lab.hosts(tmp_path):
        lab.down(host.name, purge=True, var=tmp_path)


def eventually(what: Callable[[], object], limit: float = 20) -> None:
    """Wait until `what()` is true, at most `limit` seconds."""
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def answers(host: lab.Host) -> bool:
    """Whether its sshd greets us: that takes more than the kernel."""
    try:
        with socket.create_connection((host.address, 22), 1) as connection:
            connection.settimeout(1)
            return connection.recv(3) == b"SSH"
    except OSError:
        return False


def leftovers(place: Place) -> list[str]:
    """Everything machine-wide of a host that is still there."""
    shown = [
        subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout,
        subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout,
        subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout,
        Path("/proc/self/mounts").read_text(),
        *(str(p) for p in Path("/sys/fs/cgroup").glob("**/nspawnweb-lab-*")),
    ]
    keys = (place.link, place.table, str(place.state), place.machine)
    return [key for key in keys if any(key in text for text in shown)]


def test_a_host_is_up_in_under_ten_seconds_from_cache(var: Path) -> None:
    images.ensure(var, "bookworm")
    began = time.monotonic()
    host = lab.up("alpha", var=var)
    assert time.monotonic() - began < 10
    assert host.run(["systemctl", "is-system-running"]).stdout == "running\n"
    assert host.run(["hostname"]).stdout == "alpha\n"
    assert lab.up("alpha", var=var).leader == host.leader, "up again finds it up"


def test_commands_pass_input_output_environment_and_exit_code(var: Path) -> None:
    host = lab.up("alpha", var=var)
    assert host.run(["cat"], input="dü").stdout == "dü"
    assert host.run(["sh", "-c", "echo $X; exit 7"], env={"X": "y"}, check=False).returncode == 7
    assert "PYTEST_CURRENT_TEST" not in host.run(["env"]).stdout
    with pytest.raises(lab.LabError, match="ended with code 1"):
        host.run(["false"])
    with pytest.raises(lab.LabError, match="longer than"):
        host.run(["sleep", "9"], timeout=0.5)
    argv = [sys.executable, "-m", "lab", "exec", "alpha", "--", "sh", "-c", "cat; exit 3"]
    env = {**os.environ, "NSPAWNWEB_VAR": str(var)}
    done = subprocess.run(argv, input="in", cwd=ROOT, env=env, text=True, capture_output=True, check=False)
    assert (done.stdout, done.returncode) == ("in", 3)


def test_a_service_of_the_outer_machine_is_reached_by_the_gateway_address(var: Path) -> None:
    host = lab.up("alpha", var=var)
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        child = host.popen(["curl", "-s", "-m5", f"http://{host.gateway}:{port}/"])
        server.settimeout(10)
        connection, peer = server.accept()
        connection.close()
        child.wait(10)
    assert peer[0] == host.address


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_a_host_comes_back_from_everything_with_its_state_and_address(var: Path, release: str) -> None:
    host = lab.up("alpha", release=release, pool="ext4", pool_size="256M", var=var)
    address = host.address
    host.run(["sh", "-c", "echo kept > /root/kept; mkdir /var/lib/machines/kept"])
    for stop in (host.power_off, host.crash):
        stop()
        assert not host.running
        assert not answers(host)
        assert leftovers(host.place) == []
        host.start()
        assert host.run(["cat", "/root/kept"]).stdout == "kept\n"
        assert "kept" in host.run(["ls", "/var/lib/machines"]).stdout
        assert host.address == address
    eventually(lambda: answers(host))
    host.disconnect()
    assert not answers(host)
    host.reconnect()
    eventually(lambda: answers(host))
    host.freeze()
    assert not answers(host)
    assert host.running
    host.thaw()
    eventually(lambda: answers(host))


def test_an_offline_hosts_address_never_leaves_the_machine(var: Path) -> None:
    host = lab.up("alpha", var=var)
    host.disconnect()
    with pytest.raises(OSError, match="No route to host"):
        socket.create_connection((host.address, 22), 2)
    lab.down("alpha", var=var)
    with pytest.raises(OSError, match="No route to host"):
        socket.create_connection((host.address, 22), 2)


@pytest.mark.parametrize("kind", ["btrfs", "ext4"])
def test_the_pool_is_what_was_asked_for_and_can_be_filled(var: Path, kind: str) -> None:
    host = lab.up("alpha", pool=kind, pool_size="256M", var=var)
    found = host.run(["findmnt", "-bno", "FSTYPE,SIZE", "/var/lib/machines"]).stdout.split()
    assert found[0] == kind
    assert int(found[1]) <= storage.size_in_bytes("256M")
    full = host.run(["dd", "if=/dev/zero", "of=/var/lib/machines/x", "bs=1M"], check=False)
    assert "No space left" in full.stderr
    if kind == "btrfs":
        assert "0/5" in host.run(["btrfs", "qgroup", "show", "/var/lib/machines"]).stdout


def test_another_pool_for_a_host_that_exists_is_refused(var: Path) -> None:
    lab.up("alpha", var=var)
    with pytest.raises(lab.LabError, match="its pool is btrfs"):
        lab.up("alpha", pool="ext4", var=var)


def test_two_hosts_reach_each_other_by_their_own_addresses(var: Path) -> None:
    one, two = lab.up("one", var=var), lab.up("two", release="trixie", var=var)
    assert one.address != two.address
    one.run(["ping", "-c1", "-W5", two.address])
    assert [host.name for host in lab.hosts(var)] == ["one", "two"]
    one.power_off()
    assert leftovers(one.place) == [], "a host that booted later keeps nothing of one"
    one.start()
    ids = {host.run(["cat", "/etc/machine-id"]).stdout for host in (one, two)}
    keys = {host.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).stdout for host in (one, two)}
    assert len(ids) == len(keys) == 2


def test_a_host_that_degrades_is_an_error_that_names_the_unit_and_leaves_nothing(var: Path) -> None:
    host = lab.up("alpha", var=var)
    unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
    host.run(["tee", "/etc/systemd/system/broken.service"], input=unit)
    host.run(["systemctl", "enable", "broken.service"])
    host.power_off()
    with pytest.raises(lab.LabError, match=r"broken\.service"):
        host.start()
    assert leftovers(host.place) == []


@pytest.mark.parametrize("moment", [0.15, 0.4, 0.8])
def test_a_lab_killed_while_it_boots_a_host_leaves_nothing_after_down(var: Path, moment: float) -> None:
    images.ensure(var, "bookworm")
    argv = [sys.executable, "-m", "lab", "up", "alpha"]
    child = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "NSPAWNWEB_VAR": str(var)})
    place = Place(var, "alpha")
    eventually(place.record.exists)
    time.sleep(moment)
    child.send_signal(signal.SIGKILL)
    child.wait()
    lab.down("alpha", var=var)
    assert leftovers(place) == []
    assert not place.record.exists()
    assert lab.up("alpha", var=var).running


def test_leftovers_of_a_dead_host_go_with_the_next_up_of_another(var: Path) -> None:
    host = lab.up("dead", var=var)
    os.kill(host.leader, signal.SIGKILL)
    eventually(lambda: not host.running)
    assert leftovers(host.place)
    lab.up("alpha", var=var)
    assert leftovers(host.place) == []
    assert records.load(host.place.record) is None


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_a_container_in_a_host_boots_with_private_users_and_reaches_packages(var: Path, release: str) -> None:
    host = lab.up("alpha", release=release, var=var)
    host.run(["apt-get", "update", "-qq"], timeout=180)
    base = "/var/lib/machines/base"
    build = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", base]
    host.run(build, timeout=600)
    host.run(["systemctl", f"--root={base}", "enable", "systemd-networkd", "systemd-resolved"])
    host.run(["machinectl", "clone", "base", "box"])
    host.run(["mkdir", "-p", "/etc/systemd/nspawn"])
    host.run(["tee", "/etc/systemd/nspawn/box.nspawn"], input=SETTINGS)
    host.run(["systemctl", "start", "systemd-nspawn@box"])

    def box(*argv: str) -> subprocess.CompletedProcess[str]:
        enter = ["systemd-run", "-q", "-M", "box", "--pipe", "--wait", "--collect", "--", *argv]
        return host.run(enter, check=False, timeout=180)

    eventually(lambda: box("systemctl", "is-system-running").stdout == "running\n", 60)
    eventually(lambda: box("ping", "-c1", "-W1", host.gateway).returncode == 0)
    leader = host.run(["machinectl", "show", "box", "-p", "Leader", "--value"]).stdout.strip()
    assert int(host.run(["cat", f"/proc/{leader}/uid_map"]).stdout.split()[1]) > 65535
    links = json.loads(box("ip", "-j", "-4", "addr", "show", "host0").stdout)
    assert links[0]["addr_info"], "it got an address by DHCP"
    assert box("apt-get", "update", "-qq").returncode == 0
