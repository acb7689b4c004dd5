"""Small parts: recipes, diagnoses, progress, settings, lock file, wheel, versions."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from agent import records
from agent.doctor import nspawn_is_fixed
from agent.operations import diagnosis, identity, recipe, settings
from agent.operations.follow import _parse
from agent.packaging import lock, wheel
from agent.systemd.bus import Busy, Exists, NoSuchImage, error_for, escape_path
from contract.releases import ReleaseSpec


def release(**changes: object) -> ReleaseSpec:
    values: dict[str, object] = {"slug": "debian-trixie", "distribution": "debian", "suite": "trixie"}
    return ReleaseSpec.model_validate(values | changes)


@pytest.fixture
def keyrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.gpg"
    file.write_bytes(b"")
    monkeypatch.setattr(recipe, "_KEYRINGS", dict.fromkeys(recipe._KEYRINGS, file))


def test_every_source_is_bound_to_its_keyring() -> None:
    for one in (release(), release(distribution="ubuntu", suite="noble"), release(mirror="http://m.example/debian")):
        assert all("[signed-by=/usr/share/keyrings/" in line for line in recipe.sources(one))


def test_a_chosen_mirror_is_the_only_source() -> None:
    assert len(recipe.sources(release(mirror="http://m.example/debian"))) == 1
    assert len(recipe.sources(release())) == 3
    assert len(recipe.sources(release(suite="sid"))) == 1


@pytest.mark.usefixtures("keyrings")
def test_data_stands_behind_the_options() -> None:
    for tool in ("mmdebstrap", "debootstrap"):
        argv = recipe.argv(release(tool=tool), Path("/t"))
        suite = argv.index("trixie")
        assert argv[suite + 1] == "/t"
        assert all(option.startswith("-") for option in argv[1:suite])
    assert "--" in recipe.argv(release(), Path("/t"))


@pytest.mark.usefixtures("keyrings")
def test_debootstrap_always_checks_signatures_and_knows_suites_newer_than_itself() -> None:
    argv = recipe.argv(release(tool="debootstrap", distribution="ubuntu", suite="zebra"), Path("/t"))
    assert "--force-check-gpg" in argv and argv[-1] == "gutsy"


def test_resolved_is_asked_for_only_where_it_is_a_package() -> None:
    assert "systemd-resolved" in recipe.packages(release())
    assert "systemd-resolved" not in recipe.packages(release(suite="bullseye"))
    assert "systemd-resolved" not in recipe.packages(release(distribution="ubuntu", suite="jammy"))


def test_a_recipe_is_known_by_what_it_is_and_not_by_its_name() -> None:
    assert records.fingerprint(release()) == records.fingerprint(release(slug="other"))
    assert records.fingerprint(release()) != records.fingerprint(release(packages=["vim"]))
    assert records.fingerprint(release(packages=["a1", "b1"])) == records.fingerprint(release(packages=["b1", "a1"]))
    name = records.base_name(release(slug="a" * 48))
    assert len(name) <= 64 and name.startswith("nspawnweb-base-")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("E: Unable to locate package nope", "package_unknown"),
        ("E: Couldn't find these debs: nope", "package_unknown"),
        ("E: Package 'nope' has no installation candidate", "package_unknown"),
        ("Err:1 http://x trixie InRelease Could not resolve 'x'", "mirror_unreachable"),
        ("Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)", "mirror_unreachable"),
        ("E: The repository 'http://x nope Release' does not have a Release file.", "suite_unknown"),
        ("W: GPG error: http://x InRelease: NO_PUBKEY 0123", "signature_bad"),
        ("E: Release signed by unknown key (key id 0123)", "signature_bad"),
        ("dpkg: error: unable to write: No space left on device", "disk_full"),
        ("something else entirely", "bootstrap_failed"),
    ],
)
def test_a_tool_s_last_words_are_understood(line: str, code: str) -> None:
    error = diagnosis.explain(release(), ["I: before", line])
    assert error.code == code
    assert line in error.why


def test_progress_never_falls() -> None:
    lines = [
        "I: running apt-get update...", "I: downloading packages with apt...",
        "0 upgraded, 10 newly installed, 0 to remove and 0 not upgraded.",
        *(f"Get:{n} http://m trixie/main amd64 p{n} amd64 1 [1 kB]" for n in range(1, 11)),
        "I: extracting archives...", "I: installing essential packages...", "I: installing remaining packages...",
        "0 upgraded, 4 newly installed, 0 to remove", *(f"Unpacking p{n} (1) ..." for n in range(4)),
        *(f"Setting up p{n} (1) ..." for n in range(4)), "I: cleaning package lists and apt cache...",
    ]  # fmt: skip
    progress = diagnosis.BuildProgress()
    moves = [move for line in lines if (move := progress.feed(line))]
    fractions = [fraction for fraction, _ in moves]
    assert fractions == sorted(fractions) and fractions[-1] == 0.97 and len(moves) > 15
    assert (pytest.approx(0.102), "Downloading p1") in moves


def test_output_of_the_journal_is_text_whatever_it_was() -> None:
    assert _parse(b'{"__CURSOR":"c","MESSAGE":"a\\nb"}') == ("c", ["a", "b"])
    assert _parse(b'{"__CURSOR":"c","MESSAGE":[27,91,51,49,109,120]}') == ("c", ["x"])
    assert _parse(b'{"__CURSOR":"c","MESSAGE":null}')[1] == ["(a line too long to show)"]
    assert _parse(b'{"__CURSOR":"c","MESSAGE":"10%\\r90%"}') == ("c", ["90%"])


def test_a_clone_keeps_nothing_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (tmp_path / "etc/hostname").symlink_to(outside)
    (tmp_path / "etc/shadow").write_text("root:*:1:0:::::\ndaemon:*:1:0:::::\n")
    identity.personalise(tmp_path, "web1", "$y$hash")
    assert outside.read_text() == "untouched"
    assert (tmp_path / "etc/hostname").read_text() == "web1\n"
    assert len((tmp_path / "etc/machine-id").read_text()) == 33
    assert (tmp_path / "etc/shadow").read_text() == "root:$y$hash:1:0:::::\ndaemon:*:1:0:::::\n"


def test_settings_always_ask_for_a_user_namespace() -> None:
    texts = "".join(settings.files("web1").values())
    for line in ("PrivateUsers=pick", "NotifyReady=yes", "LinkJournal=no", "TimeoutStartSec=infinity"):
        assert line in texts.splitlines()
    assert "[Resource]" not in texts


def test_errors_of_the_bus_have_classes() -> None:
    assert isinstance(error_for("org.freedesktop.machine1.NoSuchImage", "x"), NoSuchImage)
    assert isinstance(error_for("System.Error.EBUSY", "x"), Busy)
    assert isinstance(error_for("org.freedesktop.DBus.Error.FileExists", "x"), Exists)
    assert error_for("x.y", "words").failure().what == "systemd answered: words"


def test_object_paths_are_escaped_as_systemd_does() -> None:
    assert escape_path("systemd-nspawn@web1.service") == "systemd_2dnspawn_40web1_2eservice"
    assert escape_path("1a") == "_31a"
    assert escape_path("") == "_"


def test_the_lock_file_is_understood_and_everything_in_it_has_hashes() -> None:
    pins = lock.read(wheel.ROOT / "requirements" / "agent.txt")
    assert {"celery", "dbus-fast", "pydantic", "redis"} <= {pin.name for pin in pins}
    assert all(pin.hashes for pin in pins)
    assert [pin.name for pin in pins if not pin.for_linux] == ["tzdata"]


def test_a_lock_line_without_hash_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("celery==5.7.0\n")
    with pytest.raises(ValueError, match="celery"):
        lock.read(tmp_path / "lock")


def test_the_wheel_is_the_same_each_time_and_holds_units_and_entry_point(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = wheel.build(tmp_path / "a", ["x==1"]), wheel.build(tmp_path / "b", ["x==1"])
    assert one.read_bytes() == two.read_bytes()
    names = zipfile.ZipFile(one).namelist()
    assert {"agent/cli.py", "contract/orders.py", "agent/units/nspawnweb-agent-jobs.service"} <= set(names)
    assert b"nspawnweb-agent = agent.cli:main" in zipfile.ZipFile(one).read(
        f"nspawnweb_agent-{wheel.VERSION}.dist-info/entry_points.txt"
    )


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("252.39-1~deb12u2", True), ("252.39-1~deb12u1", False), ("252.38-1~deb12u1", False), ("257.12-1", True),
        ("257.9-1~deb13u1", False), ("255.4-1ubuntu8", False), ("258.6-1", True), ("259.3", False), ("260", True),
        ("v261~rc1", True),
    ],
)  # fmt: skip
def test_fixed_versions_of_nspawn_are_known(version: str, fixed: bool) -> None:
    assert nspawn_is_fixed(version) is fixed
