"""What systemd knows of a container: its .nspawn file (systemd.nspawn(5)) and the drop-in of its unit."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from agent import paths
from agent.config import write_private
from agent.errors import NameTaken

_MARK = "# Written by nspawnweb"

_NSPAWN = """\
{mark} for the container {name}; changes are overwritten.
[Exec]
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
_DROP_IN = """\
{mark} for the container {name}; changes are overwritten.
[Service]
TimeoutStartSec=infinity
CPUAccounting=yes
MemoryAccounting=yes
TasksAccounting=yes
IOAccounting=yes
IPAccounting=yes
"""


def nspawn_file(name: str) -> Path:
    return paths.NSPAWN_SETTINGS / f"{name}.nspawn"


def drop_in(name: str) -> Path:
    return paths.UNITS / f"{paths.unit_name(name)}.d" / "50-nspawnweb.conf"


def require_free(name: str) -> None:
    """Raises NameTaken if an administrator left settings for a machine of that name."""
    file = nspawn_file(name)
    if file.exists() and not file.read_text(errors="replace").startswith(_MARK):
        raise NameTaken(f"Settings for {name} exist on this host.", why=f"{file} was written by hand.")


def files(name: str) -> dict[Path, str]:
    """Both files and what stands in them."""
    texts = {nspawn_file(name): _NSPAWN, drop_in(name): _DROP_IN}
    return {file: text.format(mark=_MARK, name=name) for file, text in texts.items()}


def write(name: str) -> None:
    """Both files. The drop-in is there before the unit is first loaded, so systemd needs no reload."""
    for file, text in files(name).items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_private(file, text, mode=0o644)


def remove(name: str) -> None:
    """Settings of ours and what `systemctl set-property` left; RemoveImage leaves all of it behind."""
    nspawn_file(name).unlink(missing_ok=True)
    unit = paths.unit_name(name)
    for parent in (paths.UNITS, paths.UNIT_CONTROL, Path("/run/systemd/system.control")):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(parent / f"{unit}.d")
