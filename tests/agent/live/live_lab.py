"""A lab host with the live service of this tree on it, and one container."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from redis import Redis as SyncRedis

import lab
from tests.agent.live.live_fakes import Portal

ROOT = Path(__file__).resolve().parents[3]
HOME = "opt/nspawnweb-live-test"
UNIT = "live-under-test.service"
CONTAINER = "web1"
_PACKAGES = (
    "redis", "async_timeout", "dbus_fast", "pydantic", "pydantic_core", "annotated_types", "typing_extensions",
    "typing_inspection", "cryptography", "cffi", "_cffi_backend", "pycparser",
)  # fmt: skip
_INCLUDE = "systemd-sysv,dbus,libpam-systemd,iproute2,procps"
_SETTINGS = """[Exec]
Boot=yes
PrivateUsers=pick
NotifyReady=yes
LinkJournal=no
ResolvConf=off
Timezone=off
[Files]
PrivateUsersOwnership=auto
[Network]
VirtualEthernet=yes
"""


def wait_for(condition: Callable[[], bool], limit_s: float = 30, what: str = "it") -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {limit_s} s"
        time.sleep(0.02)


class LabHost:
    """The host, its container, and the service as a unit of the host's systemd."""

    def __init__(self, host: lab.Host) -> None:
        self.host = host

    def run(self, *argv: str, check: bool = True, timeout: float = 60) -> str:
        return self.host.run(list(argv), check=check, timeout=timeout).stdout

    def install(self) -> None:
        """This tree and the packages it needs, as the interpreter that runs the tests has them (CPython 3.11)."""
        home = self.host.root / HOME
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        for name in _PACKAGES:
            _copy_package(name, home)
        for room in ("agent", "contract"):
            shutil.copytree(ROOT / room, home / room, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(__file__).with_name("live_launcher.py"), home)

    def make_container(self) -> None:
        """Once a host; it outlives the host's going down."""
        if "web1" not in self.run("machinectl", "list-images", "--no-legend"):
            self.run("btrfs", "subvolume", "create", "/var/lib/machines/web1")
            argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_INCLUDE}", "bookworm"]
            self.run(*argv, "/var/lib/machines/web1", timeout=300)
        self.run("mkdir", "-p", "/etc/systemd/nspawn")
        self.host.run(["tee", "/etc/systemd/nspawn/web1.nspawn"], input=_SETTINGS)
        tree = "--root=/var/lib/machines/web1"
        self.run("systemctl", tree, "enable", "systemd-networkd", check=False)

    def start_container(self) -> None:
        self.run("systemctl", "start", "systemd-nspawn@web1")
        self.run("systemctl", "-M", CONTAINER, "is-system-running", "--wait", check=False)

    def stop_container(self) -> None:
        self.run("systemctl", "stop", "systemd-nspawn@web1", check=False)
        wait_for(lambda: CONTAINER not in self.run("machinectl", "list", "--no-legend"), what="the container's end")

    def inside(self, script: str, *, check: bool = True) -> str:
        """Run a script in the container."""
        argv = ["systemd-run", "-q", "-M", CONTAINER, "--pipe", "--wait", "--collect", "--", "/bin/sh", "-c", script]
        return self.run(*argv, check=check, timeout=120)

    def start_service(self, portal: Portal, port: int) -> None:
        key = portal.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.host.root / HOME / "live.pub").write_bytes(key)
        self.run(
            "systemd-run", "-q", "--collect", f"--unit={UNIT}", "--service-type=notify",
            "--property=WatchdogSec=10", f"--setenv=PYTHONPATH=/{HOME}", "--",
            "/usr/bin/python3", f"/{HOME}/live_launcher.py", str(portal.host), self.host.gateway, str(port),
            f"/{HOME}/live.pub",
        )  # fmt: skip

    def stop_service(self) -> None:
        self.run("systemctl", "stop", UNIT, check=False)

    def service_log(self) -> str:
        """Of its latest run."""
        text = self.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager", check=False)
        return text.rpartition("Starting live-under-test")[2]

    def journalctls(self) -> list[str]:
        """Every journalctl on the host, those in containers too."""
        return self.run("pgrep", "-a", "journalctl", check=False).splitlines()


class PublicRedis:
    """A Redis that the lab host can reach: it listens on the host's gateway address alone."""

    def __init__(self, address: str, port: int) -> None:
        argv = ["redis-server", "--bind", address, "--port", str(port), "--protected-mode", "no", "--save", ""]
        self.address, self.port = address, port
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        wait_for(self._answers, 10, "Redis")

    def _answers(self) -> bool:
        try:
            with SyncRedis(host=self.address, port=self.port) as client:
                return bool(client.ping())
        except OSError:
            return False
        except Exception as error:
            if "Connection" in type(error).__name__:
                return False
            raise

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _copy_package(name: str, home: Path) -> None:
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None, name
    source = Path(spec.origin)
    if spec.submodule_search_locations:
        shutil.copytree(source.parent, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, home)
