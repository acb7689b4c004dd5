"""Children: their output comes whole, and none outlives its reader, also when that is cancelled."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest

from agent.live import child as child_module
from agent.live.child import Child


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_output_errors_and_status_come() -> None:
    async with Child.spawn(["sh", "-c", "seq 100000; echo 'it \033[31mbroke' >&2; exit 3"]) as child:
        text = b""
        while chunk := await child.read():
            text += chunk
        assert await child.wait() == 3
        assert text.split() == [b"%d" % number for number in range(1, 100_001)]
        assert child.errors() == "it broke"


@pytest.mark.parametrize("script", ["sleep 1000", "trap '' TERM; while :; do sleep 1000; done"])
async def test_a_cancelled_reader_leaves_no_child(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "TERM_S", 0.2)
    pids: list[int] = []

    async def read() -> None:
        async with Child.spawn(["sh", "-c", f"echo up; {script}"]) as child:
            assert await child.read() == b"up\n"
            pids.append(child.pid)
            await child.read()

    task = asyncio.create_task(read())
    async with asyncio.timeout(10):
        while not pids:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert not alive(pids[0])


async def test_closing_does_not_wait_for_whoever_inherited_the_pipe() -> None:
    began = time.monotonic()
    async with Child.spawn(["sh", "-c", "sleep 3 & echo up"]) as child:
        assert await child.read() == b"up\n"
    assert time.monotonic() - began < 2
    before = descriptors()
    async with Child.spawn(["true"]) as child:
        assert await child.wait() == 0
    await asyncio.sleep(0)
    assert descriptors() <= before


async def test_a_program_that_is_not_there_leaves_no_descriptor() -> None:
    before = descriptors()
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            async with Child.spawn(["/no/such/program"]):
                pass
    await asyncio.sleep(0.01)
    assert descriptors() <= before + 3, "descriptors leak"
