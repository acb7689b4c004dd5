"""`./dev bench create`: from the API call to a running container, beside what an administrator does by hand.

Three roads on one btrfs lab host in one run, taking turns:
- portal: POST /api/v1/containers until GET shows `running`;
- raw: `machinectl clone` of the same base image, `systemctl start`, until systemd inside says running;
- recipe: the usual debootstrap into a new folder, `systemctl start`, until systemd inside says running.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import lab
from tests.stack import Api, Stack, running

HOST = "lab1"
RELEASE = "debian-bookworm"
POLL_S = 0.025
"""Tighter asking would take the processor from the container that boots: client and portal share this machine."""

WAIT = """
until case "$(systemctl -M "$1" is-system-running --wait 2>/dev/null)" in running|degraded) true;; *) false;; esac
do sleep 0.01; done
"""
RAW = 'set -eu\nmachinectl clone -q "$2" "$1"\nsystemctl start systemd-nspawn@"$1"\n' + WAIT
RECIPE = (
    "set -eu\ndebootstrap --variant=minbase --include=systemd-sysv,dbus,libpam-systemd bookworm "
    '"/var/lib/machines/$1" >/dev/null\nsystemctl start systemd-nspawn@"$1"\n' + WAIT
)
CLEAN = """
machinectl terminate "$1" 2>/dev/null
for i in $(seq 100); do machinectl remove "$1" 2>/dev/null && break; sleep 0.05; done
"""


def portal_ms(api: Api, name: str) -> float:
    """One create by the API, in milliseconds; the container is removed afterwards, untimed."""
    begin = time.perf_counter()
    container, job = api.create(name, HOST, RELEASE)
    while api.get(f"/containers/{container['id']}")["state"] != "running":
        if time.perf_counter() - begin > 60:
            raise SystemExit(f"{name} did not run within a minute: {api.get('/jobs/' + job['id'])}")
        time.sleep(POLL_S)
    took = (time.perf_counter() - begin) * 1000
    api.done(job)
    api.done(api.remove(container))
    return took


def script_ms(host: lab.Host, script: str, *argv: str) -> float:
    begin = time.perf_counter()
    host.run(["sh", "-c", script, "bench", *argv], timeout=600)
    took = (time.perf_counter() - begin) * 1000
    host.run(["sh", "-c", CLEAN, "bench", argv[0]], check=False)
    return took


def base_image(stack: Stack, host: lab.Host) -> str:
    """The base image of the release on the host, built if need be."""
    container, job = stack.api.create("bench-first", HOST, RELEASE)
    stack.api.done(job, timeout=600)
    stack.api.done(stack.api.remove(container))
    names = host.run(["sh", "-c", "ls /var/lib/machines"]).stdout.split()
    return next(name for name in names if name.startswith(f"nspawnweb-base-{RELEASE}"))


def measure(stack: Stack, times: int, recipes: int) -> dict[str, Any]:
    host = stack.hosts[HOST]
    base = base_image(stack, host)
    portal, raw = [], []
    for turn in range(times):
        portal.append(portal_ms(stack.api, f"bench-p{turn}"))
        raw.append(script_ms(host, RAW, f"bench-r{turn}", base))
        print(f"  {turn + 1:2}/{times}  portal {portal[-1]:6.0f} ms   raw {raw[-1]:6.0f} ms", flush=True)
    recipe = [script_ms(host, RECIPE, f"bench-d{turn}") / 1000 for turn in range(recipes)]
    portal_p50, raw_p50, recipe_p50 = map(statistics.median, (portal, raw, recipe))
    return {
        "portal_p50_ms": round(portal_p50, 1),
        "raw_p50_ms": round(raw_p50, 1),
        "ratio": round(portal_p50 / raw_p50, 3),
        "recipe_s": round(recipe_p50, 2),
        "speedup": round(recipe_p50 * 1000 / portal_p50, 1),
        "times": times,
        "recipe_times": recipes,
        "portal_ms": [round(each, 1) for each in portal],
        "raw_ms": [round(each, 1) for each in raw],
        "machine": f"{os.cpu_count()} cores, Linux {platform.release()}, {host.release} host on {host.pool}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench create", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--recipes", type=int, default=3)
    args = parser.parse_args()
    with running(hosts=1) as stack:
        figures = measure(stack, args.times, args.recipes)
    text = json.dumps(figures, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
