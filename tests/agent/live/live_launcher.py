"""The live service on a lab host against a plain Redis: `python3 live_launcher.py HOST-ID ADDRESS PORT KEYFILE`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from agent import log
from agent.live.service import run


@dataclasses.dataclass(frozen=True)
class Settings:
    host: UUID
    address: str
    port: int
    live_key: Path

    def redis_async(self, **options: Any) -> Redis:
        return Redis(host=self.address, port=self.port, health_check_interval=10, **options)


if __name__ == "__main__":
    log.setup()
    run(Settings(UUID(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
