"""A record tells whoever comes after a crash what was made, and whether its host still runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lab import records, undo
from lab.errors import LabError
from lab.processes import know
from lab.records import Record


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(
        path=tmp_path / "run" / "alpha.json",
        name="alpha",
        release="bookworm",
        pool="btrfs",
        address="198.18.0.2",
        gateway="198.18.0.1",
        root="/nowhere",
        link="labffffffff",
    )


def test_a_thing_is_on_the_disk_before_it_is_made(record: Record) -> None:
    record.will_make("mount", path="/nowhere")
    again = records.load(record.path)
    assert again is not None
    assert again.resources == [{"kind": "mount", "path": "/nowhere"}]


def test_a_record_comes_back_as_it_was_saved(record: Record) -> None:
    record.leader = know(os.getpid())
    record.phase = "running"
    record.save()
    assert records.load(record.path) == record


def test_there_is_no_record_where_none_was_saved_or_it_is_damaged(record: Record) -> None:
    assert records.load(record.path) is None
    record.path.parent.mkdir()
    record.path.write_text("{half")
    assert records.load(record.path) is None


def test_a_host_runs_only_with_its_own_leader_in_this_boot_and_after_start_up(record: Record) -> None:
    record.leader = know(os.getpid())
    assert record.leader is not None
    assert not record.runs, "it is still starting"
    record.phase = "running"
    assert record.runs
    assert not replace(record, boot="another").runs
    stranger = replace(record.leader, start=record.leader.start + 1)
    assert not replace(record, leader=stranger).runs


def test_undoing_is_newest_first_and_removes_the_record(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(undo, "STEPS", {"mount": lambda what: seen.append(what["path"])})
    record.will_make("mount", path="first")
    record.will_make("mount", path="second")
    undo.undo(record)
    assert seen == ["second", "first"]
    assert not record.path.exists()


def test_a_step_that_fails_stays_on_record_and_the_others_are_done(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(what: records.Resource) -> None:
        if what["path"] == "busy":
            raise LabError("busy")

    monkeypatch.setattr(undo, "STEPS", {"mount": step})
    for path in ("one", "busy", "two"):
        record.will_make("mount", path=path)
    with pytest.raises(LabError, match="not wholly down"):
        undo.undo(record)
    again = records.load(record.path)
    assert again is not None
    assert again.resources == [{"kind": "mount", "path": "busy"}]
