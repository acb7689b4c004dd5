"""Names that the whole machine shares are short enough, and different in every clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import storage
from lab.errors import LabError
from lab.paths import Place, check_name, known_names, var_folder


@pytest.mark.parametrize("name", ["a", "alpha", "host-1", "a" * 32])
def test_good_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "-a", "a-", "A", "a.b", "../a", "a" * 33, "a\n"])
def test_bad_names_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(LabError, match="What to do: use 1 to 32"):
        check_name(name)


def test_machine_wide_names_differ_by_var_and_by_name() -> None:
    places = [Place(Path(v), n) for v in ("/one/var", "/two/var") for n in ("a", "b")]
    for attribute in ("id", "link", "machine", "table"):
        assert len({getattr(place, attribute) for place in places}) == 4


def test_an_interface_name_fits_the_kernel() -> None:
    assert len(Place(Path("/var"), "a" * 32).link) <= 15


def test_var_is_the_argument_then_the_environment_then_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NSPAWNWEB_VAR", raising=False)
    assert var_folder() == tmp_path / "var"
    monkeypatch.setenv("NSPAWNWEB_VAR", str(tmp_path / "other"))
    assert var_folder() == tmp_path / "other"
    assert var_folder(tmp_path / "third") == tmp_path / "third"


def test_hosts_are_known_by_state_or_by_record(tmp_path: Path) -> None:
    (tmp_path / "lab/hosts/off").mkdir(parents=True)
    (tmp_path / "lab/hosts/off/host.json").write_text("{}")
    (tmp_path / "lab/run").mkdir()
    (tmp_path / "lab/run/half.json").write_text("{}")
    (tmp_path / "lab/run/.half.json.7.new").write_text("{}")
    assert known_names(tmp_path) == ["half", "off"]


def test_sizes_are_powers_of_1024_and_have_a_floor() -> None:
    assert storage.size_in_bytes("512M") == 512 * 2**20
    assert storage.size_in_bytes("10g") == 10 * 2**30
    for wrong in ("", "10", "64M", "-1G", "1.5G", "tenG"):
        with pytest.raises(LabError):
            storage.size_in_bytes(wrong)
