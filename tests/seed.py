"""Fills an empty portal with plausible rows, to look at its pages: `python -m tests.seed`. Never for one in use."""

from __future__ import annotations

import math
import os
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nspawnweb.settings")
django.setup()

from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from audit.services import record  # noqa: E402
from machines.models import Container, ContainerSample, Host, HostSample, Release  # noqa: E402
from tasks.models import Job  # noqa: E402
from teams.models import Role, SiteRole, SiteRoleName, Team  # noqa: E402
from tests.factories import (  # noqa: E402
    CHECKS,
    GIB,
    BaseImageFactory,
    ContainerFactory,
    DiscoveredFactory,
    HostFactory,
    JobFactory,
    MembershipFactory,
    TeamFactory,
    UserFactory,
    facts,
    tell,
)

STATES = ["running", "running", "running", "stopped", "running", "degraded", "stopped", "failed", "missing", "starting"]
FAR = timedelta(days=3650)
"""Hosts of the seed stay online for ever: no agent sends heartbeats for them."""


@transaction.atomic
def seed() -> None:
    now = timezone.now()
    admin = UserFactory(username="root", is_superuser=True, is_staff=True)
    web, data = TeamFactory(name="Web shop", slug="web-shop"), TeamFactory(name="Data science", slug="data-science")
    people = {name: UserFactory(username=name) for name in ("anna", "ben", "carla", "dev")}
    for name, team, role in (
        ("anna", web, Role.ADMIN),
        ("ben", web, Role.DEVELOPER),
        ("carla", web, Role.VIEWER),
        ("dev", data, Role.DEVELOPER),
    ):
        MembershipFactory(team=team, user=people[name], role=role)
    MembershipFactory(team=web, user=admin, role=Role.ADMIN)
    SiteRole.objects.create(user=UserFactory(username="olga"), role=SiteRoleName.OPERATOR)
    SiteRole.objects.create(user=UserFactory(username="adam"), role=SiteRoleName.AUDITOR)
    srv1 = HostFactory(name="srv1", last_seen=now + FAR)
    srv2 = HostFactory(name="srv2.dc2.example.org", last_seen=now - timedelta(minutes=42))
    bad = {"key": "idmap", "title": "User namespaces", "result": "fail", "found": "off", "wanted": "on"}
    warn = {"key": "quota", "title": "Disk limits", "result": "warn", "found": "no quota", "wanted": "btrfs quota"}
    srv3 = HostFactory(
        name="srv3",
        last_seen=now + FAR,
        facts=facts(
            "srv3",
            pool_fs="ext4",
            checks=[
                bad | {"mend": "sysctl -w user.max_user_namespaces=15000"},
                warn | {"mend": "btrfs quota enable /var/lib/machines"},
                *CHECKS,
            ],
        ),
    )
    BaseImageFactory(host=srv1, slug="debian-bookworm")
    BaseImageFactory(host=srv1, slug="debian-trixie")
    DiscoveredFactory(host=srv1, name="oldthing")
    owners = [admin, people["anna"], people["ben"], people["dev"]]
    for n in range(72):
        container = ContainerFactory(
            name=f"{('web', 'db', 'api', 'cache', 'build')[n % 5]}{n:02}",
            host=(srv1, srv1, srv3, srv2)[n % 4],
            team=data if n % 4 == 3 else web,
            owner=owners[n % 4],
            release=Release.objects.order_by("position")[n % 3],
            state=STATES[n % 10],
            host_state=STATES[n % 10],
            addresses=[f"10.0.{n}.17"] if STATES[n % 10] in {"running", "degraded"} else [],
        )
        Container.objects.filter(pk=container.pk).update(created_at=now - timedelta(hours=7 * n))
        JobFactory(container=container, by=owners[n % 4], title=f"Start {container.name}")
    _samples(srv1)
    _jobs(web, people["anna"])
    for n in range(60):
        record(
            by=people["anna"], action="container.start", team_id=web.pk, object_type="container", object_name=f"web{n}"
        )


def _samples(host: Host) -> None:
    now = timezone.now()
    container = Container.objects.filter(host=host).order_by("name").first()
    assert container is not None
    cpu = 0
    for n in range(720):
        if 300 < n < 360:
            continue  # a gap
        at, wave = now - timedelta(seconds=5 * (720 - n)), 1 + math.sin(n / 40)
        cpu += int(wave * 1_200_000)
        used = {"cpu_usec": cpu, "memory_bytes": int((200 + 60 * wave) * (1 << 20)), "tasks": int(20 + 5 * wave)}
        traffic = {"net_rx_bytes": n * 40_000 + int(wave * 30_000), "net_tx_bytes": n * 9_000}
        ContainerSample.objects.create(
            container=container, at=at, data=used | traffic | {"memory_limit_bytes": 512 << 20}
        )
        whole = {"memory_used_bytes": int((8 + wave) * GIB), "pool_used_bytes": 120 * GIB, "pool_free_bytes": 280 * GIB}
        HostSample.objects.create(host=host, at=at, data=whole | {"cpu_usec": cpu * 3, "load1": wave * 2})


STEPS = [["image", "Base image"], ["clone", "Clone it"], ["identity", "Give it its identity"], ["start", "Boot it"]]


def _jobs(team: Team, by: object) -> None:
    now = timezone.now()
    rows = iter(Container.objects.filter(team=team).order_by("name"))
    begun = ("started", {"attempt": 1, "agent_version": "0.1.0", "steps": STEPS})
    running: Job = JobFactory(
        container=next(rows),
        by=by,
        kind="container.create",
        title="Create container api02",
        state="running",
        holds_container=True,
        started_at=now - timedelta(seconds=9),
        finished_at=None,
        sent_at=now,
    )
    lines = [f"I: unpacking package {n} of 143 from http://mirror.example.org/debian trixie/main" for n in range(400)]
    image = (
        "command",
        {"step": "image", "line": "mmdebstrap --variant=minbase --components=main -- trixie /var/lib/machines/x"},
    )
    at_work = ("step", {"key": "image", "title": "Base image", "state": "running"})
    output = [("output", {"step": "image", "lines": lines[n : n + 100]}) for n in range(0, 400, 100)]
    tell(
        running, begun, at_work, image, *output, ("progress", {"step": "image", "fraction": 0.63, "text": "unpacking"})
    )
    failed: Job = JobFactory(
        container=next(rows),
        by=by,
        kind="container.create",
        title="Create container api12",
        state="failed",
        started_at=now - timedelta(minutes=3),
        finished_at=now - timedelta(minutes=2),
        failure={
            "code": "mirror_unreachable",
            "what": "The base image could not be built.",
            "why": "The mirror http://mirror.example.org/debian did not answer within 30 seconds.",
            "hint": "Check the host's network and DNS, then press Retry.",
        },
    )
    errors = ["E: could not resolve host mirror.example.org", "E: apt-get update failed", "E: mmdebstrap ended with 1"]
    broken = ("step", {"key": "image", "title": "Base image", "state": "failed"})
    tell(failed, begun, at_work, image, ("output", {"step": "image", "lines": [*lines[:40], *errors]}), broken)
    JobFactory(container=next(rows), by=by, state="queued", title="Stop api22", started_at=None, finished_at=None)


if __name__ == "__main__":
    seed()
    from tests.factories import PASSWORD

    print(f"The password of all is: {PASSWORD}")
    print("Log in as root, anna, ben, carla, dev, olga or adam.")
