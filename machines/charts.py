"""Samples as series for the charts: rates from counters, gaps as nulls, thinned to what a screen can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from contract.live import HEARTBEAT_S
from machines.models import Container, Host

POINTS_MAX = 720
MINUTES_MAX = 360
GAP_S = 3 * HEARTBEAT_S
"""Further apart than this, two samples are not joined by a line: nobody knows what was between them."""

Sample = tuple[datetime, dict[str, Any]]
Value = Callable[[Sample | None, Sample], float | None]
"""What a series shows at a sample, given the one before it (None at the start and after a gap)."""


def container_series(container: Container, minutes: int) -> dict[str, Any]:
    """`cpu` in cores, `memory` in bytes, `tasks`, `rx` and `tx` in bytes a second, against `at` (Unix seconds)."""
    samples = list(container.samples.filter(at__gte=_since(minutes)).order_by("at").values_list("at", "data"))
    last = samples[-1][1] if samples else {}
    limits = {"memory": last.get("memory_limit_bytes"), "cpu": container.host.facts.get("cpus")}
    shown: dict[str, Value] = {
        "cpu": _rate("cpu_usec", 1e-6),
        "memory": _plain("memory_bytes"),
        "tasks": _plain("tasks"),
        "rx": _rate("net_rx_bytes", 1),
        "tx": _rate("net_tx_bytes", 1),
    }
    return _series(samples, shown) | {"limits": limits}


def host_series(host: Host, minutes: int) -> dict[str, Any]:
    """`cpu` in cores, `memory` and `pool` in bytes used, `load` over one minute, against `at` (Unix seconds)."""
    samples = list(host.samples.filter(at__gte=_since(minutes)).order_by("at").values_list("at", "data"))
    limits = {key: host.facts.get(fact) for key, fact in HOST_LIMITS.items()}
    shown: dict[str, Value] = {
        "cpu": _rate("cpu_usec", 1e-6),
        "memory": _plain("memory_used_bytes"),
        "pool": _plain("pool_used_bytes"),
        "load": _plain("load1"),
    }
    return _series(samples, shown) | {"limits": limits}


HOST_LIMITS = {"cpu": "cpus", "load": "cpus", "memory": "memory_bytes", "pool": "pool_bytes"}


def _since(minutes: int) -> datetime:
    return timezone.now() - timedelta(minutes=max(1, min(minutes, MINUTES_MAX)))


def _plain(key: str) -> Value:
    return lambda before, now: now[1].get(key)


def _rate(key: str, scale: float) -> Value:
    """Per second from a counter; None where it began anew (the container was restarted)."""

    def value(before: Sample | None, now: Sample) -> float | None:
        if before is None or before[1].get(key) is None or now[1].get(key) is None:
            return None
        seconds = (now[0] - before[0]).total_seconds()
        grown = now[1][key] - before[1][key]
        return round(grown * scale / seconds, 4) if seconds > 0 and grown >= 0 else None

    return value


def _series(samples: list[Sample], shown: dict[str, Value]) -> dict[str, list[float | None]]:
    columns: dict[str, list[float | None]] = {"at": [], **{name: [] for name in shown}}
    before: Sample | None = None
    for sample in _thinned(samples):
        if before is not None and (sample[0] - before[0]).total_seconds() > max(GAP_S, 3 * _step_s(samples)):
            _append(columns, before[0].timestamp() + HEARTBEAT_S, dict.fromkeys(shown))
            before = None
        _append(columns, sample[0].timestamp(), {name: value(before, sample) for name, value in shown.items()})
        before = sample
    return columns


def _append(columns: dict[str, list[float | None]], at: float, values: dict[str, float | None]) -> None:
    columns["at"].append(round(at, 1))
    for name, value in values.items():
        columns[name].append(value)


def _thinned(samples: list[Sample]) -> Iterable[Sample]:
    return samples[:: max(1, len(samples) // POINTS_MAX)]


def _step_s(samples: list[Sample]) -> float:
    """The distance of shown points in seconds when nothing is missing."""
    return max(1, len(samples) // POINTS_MAX) * HEARTBEAT_S
