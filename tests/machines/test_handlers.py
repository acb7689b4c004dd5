"""What jobs and hosts say, as it shows on containers: the host is right, and the newer word counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from contract.live import (
    Heartbeat,
    HostFacts,
    HostMetrics,
    ImageInfo,
    InventoryReport,
    MachineChanged,
    MachineInfo,
    MachineState,
    Metrics,
)
from machines.handlers import MachineHandlers
from machines.models import (
    BaseImage,
    Container,
    ContainerSample,
    ContainerState,
    DiscoveredMachine,
    Host,
    HostSample,
    Release,
)
from machines.services import containers, upkeep
from machines.services.containers import CreateSpec, container_create
from tasks.models import Job
from tasks.services import job_cancel, job_retry
from teams.errors import Invalid
from teams.models import Team
from tests.factories import DiscoveredFactory, HostFactory, facts
from tests.tasks.helpers import event, finished, started, story, tell

pytestmark = pytest.mark.django_db
S = ContainerState
handlers = MachineHandlers()


@pytest.fixture(autouse=True)
def _nothing_is_sent(sent: list[Any], asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.services.tell_cancelled", lambda job: None)


def info(name: str, state: str = "running", **more: Any) -> MachineInfo:
    return MachineInfo(name=name, state=MachineState(state), **({"managed": True} | more))


def report(host: Host, *machines: MachineInfo, at: datetime | None = None, images: Any = ()) -> None:
    message = InventoryReport(
        at=at or timezone.now(),
        facts=HostFacts.model_validate(facts(host.name)),
        machines=list(machines),
        images=list(images),
    )
    handlers.on_host_state(host.pk, message, timezone.now())


def changed(host: Host, name: str, machine: MachineInfo | None, at: datetime | None = None) -> None:
    handlers.on_host_state(host.pk, MachineChanged(at=at or timezone.now(), name=name, info=machine), timezone.now())


def state(container: Container) -> str:
    container.refresh_from_db()
    return container.state


class TestCreating:
    @pytest.fixture
    def made(self, owner: User, team: Team, host: Host, release: Release) -> tuple[Container, Job]:
        return container_create(by=owner, team=team, host=host, spec=CreateSpec(name="new1", release=release))

    def test_it_is_creating_until_the_job_ends(self, made: tuple[Container, Job], host: Host) -> None:
        container, job = made
        tell(host, event(job, 1, started()))
        report(host, info("new1", "starting"))
        assert state(container) == S.CREATING
        tell(host, event(job, 2, finished(state="running", addresses=["192.0.2.7"])))
        assert state(container) == S.RUNNING
        assert container.created and container.addresses == ["192.0.2.7"]

    def test_the_hosts_newer_word_outweighs_the_jobs_result(self, made: tuple[Container, Job], host: Host) -> None:
        container, job = made
        ended = timezone.now()
        changed(host, "new1", info("new1", "degraded"), at=timezone.now())
        tell(host, event(job, 1, started(), ended), event(job, 2, finished(state="running"), ended))
        assert state(container) == S.DEGRADED

    @pytest.mark.parametrize("outcome", ["failed", "cancelled"])
    def test_one_that_was_not_made_can_be_tried_again_or_removed(
        self, outcome: str, made: tuple[Container, Job], host: Host, owner: User
    ) -> None:
        container, job = made
        tell(host, *story(job, started(), finished(outcome)))
        assert state(container) == S.FAILED and not container.created
        again = job_retry(by=owner, job=Job.objects.get(pk=job.pk))
        assert state(container) == S.CREATING
        tell(host, *story(again, started(), finished("failed")))
        assert state(container) == S.FAILED
        removing = containers.container_remove(by=owner, container=container)
        assert state(container) == S.REMOVING
        tell(host, *story(removing, started(), finished()))
        container.refresh_from_db()
        assert container.removed_at is not None

    def test_a_retry_takes_the_release_as_it_was_mended(
        self, made: tuple[Container, Job], host: Host, owner: User, sent: list[Any], committed: Any
    ) -> None:
        _, job = made
        tell(host, *story(job, started(), finished("failed")))
        Release.objects.filter(slug="debian-bookworm").update(mirror="http://mirror.example/debian")
        with committed():
            job_retry(by=owner, job=Job.objects.get(pk=job.pk))
        assert sent[-1].params.release.mirror == "http://mirror.example/debian"
        Release.objects.filter(slug="debian-bookworm").update(mirror="file:///etc")
        with pytest.raises(Invalid, match="breaks a rule"):
            job_cancel(by=owner, job=Job.objects.latest("created_at"))
            job_retry(by=owner, job=Job.objects.latest("created_at"))

    def test_removing_one_that_never_was_spares_a_strangers_machine(
        self, made: tuple[Container, Job], host: Host, owner: User
    ) -> None:
        container, job = made
        tell(host, *story(job, started(), finished("failed")))
        container.refresh_from_db()
        assert containers.container_remove(by=owner, container=container).params["only_managed"] is True

    def test_one_cancelled_before_it_began_is_failed_at_once(self, made: tuple[Container, Job], owner: User) -> None:
        container, job = made
        job_cancel(by=owner, job=job)
        assert state(container) == S.FAILED

    def test_an_inventory_during_creation_does_not_make_it_missing(
        self, made: tuple[Container, Job], host: Host
    ) -> None:
        container, _ = made
        report(host)
        assert state(container) == S.CREATING

    def test_one_that_was_made_after_all_shows_as_it_is(
        self, made: tuple[Container, Job], host: Host, owner: User
    ) -> None:
        container, job = made
        job_cancel(by=owner, job=job)
        report(host, info("new1", "running"))
        assert state(container) == S.RUNNING and container.created

    def test_somebody_elses_machine_of_that_name_is_not_taken_for_ours(
        self, made: tuple[Container, Job], host: Host
    ) -> None:
        container, job = made
        tell(host, *story(job, started(), finished("failed")))
        report(host, info("new1", "running", managed=False))
        assert state(container) == S.FAILED and not container.created
        assert DiscoveredMachine.objects.get().name == "new1"


class TestTruth:
    @pytest.mark.parametrize("word", list(MachineState))
    def test_a_container_shows_what_its_host_says(self, word: MachineState, container: Container, host: Host) -> None:
        changed(host, "web1", info("web1", word))
        assert state(container) == word

    def test_an_older_word_changes_nothing(self, container: Container, host: Host) -> None:
        changed(host, "web1", info("web1", "stopped"))
        changed(host, "web1", info("web1", "running"), at=timezone.now() - timedelta(seconds=5))
        report(host, at=timezone.now() - timedelta(seconds=5))
        assert state(container) == S.STOPPED

    def test_a_clock_that_ran_ahead_does_not_shut_the_host_out(self, container: Container, host: Host) -> None:
        changed(host, "web1", info("web1", "stopped"), at=timezone.now() + timedelta(days=9))
        changed(host, "web1", info("web1", "running"))
        assert state(container) == S.RUNNING

    def test_one_that_is_gone_is_missing_and_comes_back(self, container: Container, host: Host) -> None:
        report(host)
        assert state(container) == S.MISSING and container.addresses == []
        report(host, info("web1", "stopped"))
        assert state(container) == S.STOPPED
        changed(host, "web1", None)
        assert state(container) == S.MISSING

    def test_one_host_does_not_speak_of_anothers_containers(self, container: Container, host: Host) -> None:
        other = HostFactory()
        report(other, info("web1", "failed"))
        changed(other, "web1", None)
        assert state(container) == S.RUNNING
        assert not DiscoveredMachine.objects.filter(host=other, name="web1").exists()

    def test_a_revoked_host_changes_nothing(self, container: Container, host: Host) -> None:
        Host.objects.update(revoked_at=timezone.now())
        report(host)
        assert state(container) == S.RUNNING

    def test_details_are_taken_over(self, container: Container, host: Host) -> None:
        begun = datetime(2026, 1, 1, tzinfo=UTC)
        report(host, info("web1", enabled=True, addresses=["192.0.2.5"], os="Debian", image_bytes=7, started=begun))
        container.refresh_from_db()
        assert (container.autostart, container.addresses, container.os) == (True, ["192.0.2.5"], "Debian")
        assert (container.image_bytes, container.started_at) == (7, begun)

    def test_removing_shows_until_it_is_gone_and_a_failure_shows_the_truth(
        self, container: Container, host: Host, owner: User
    ) -> None:
        job = containers.container_remove(by=owner, container=container)
        changed(host, "web1", info("web1", "stopping"))
        assert state(container) == S.REMOVING
        tell(host, *story(job, started(), finished("failed")))
        assert state(container) == S.STOPPING

    def test_enabling_shows_when_it_is_done(self, container: Container, host: Host, owner: User) -> None:
        job = containers.container_enable(by=owner, container=container)
        tell(host, *story(job, started(), finished()))
        container.refresh_from_db()
        assert container.autostart and container.state == S.RUNNING

    def test_an_inventory_that_brings_nothing_new_costs_few_queries(
        self, host: Host, team: Team, django_assert_max_num_queries: Any
    ) -> None:
        names = [f"c{n}" for n in range(100)]
        Container.objects.bulk_create(
            Container(name=name, host=host, team=team, state="running", host_state="running", created=True)
            for name in names
        )
        report(host, *[info(name) for name in names])
        with django_assert_max_num_queries(15):
            report(host, *[info(name) for name in names])


class TestStrangers:
    def test_a_machine_made_by_hand_is_discovered_and_forgotten(self, host: Host) -> None:
        report(host, info("byhand", managed=False), info("nspawnweb-base-x", "stopped"), info(".raw", "stopped"))
        assert DiscoveredMachine.objects.get().name == "byhand"
        changed(host, "byhand", info("byhand", "stopped", managed=False))
        assert DiscoveredMachine.objects.get().info["state"] == "stopped"
        report(host)
        assert not DiscoveredMachine.objects.exists()

    def test_a_single_change_leaves_the_other_strangers(self, host: Host) -> None:
        DiscoveredFactory(host=host, name="one")
        DiscoveredFactory(host=host, name="two")
        changed(host, "one", None)
        assert DiscoveredMachine.objects.get().name == "two"


class TestHostItself:
    def beat(self, host: Host, received: datetime | None = None, **machines: Metrics) -> None:
        metrics = HostMetrics(load1=0.5, cpu_usec=10, memory_used_bytes=1, pool_used_bytes=2, pool_free_bytes=3)
        message = Heartbeat(at=timezone.now(), metrics=metrics, containers=machines)
        handlers.on_host_state(host.pk, message, received or timezone.now())

    def test_a_heartbeat_says_that_it_lives_and_leaves_samples(self, container: Container, host: Host) -> None:
        Host.objects.update(last_seen=None)
        self.beat(host, web1=Metrics(cpu_usec=5), unknown=Metrics(cpu_usec=6))
        host.refresh_from_db()
        assert host.is_online and host.metrics["load1"] == 0.5
        assert HostSample.objects.get().data["cpu_usec"] == 10
        assert ContainerSample.objects.get().data["cpu_usec"] == 5

    def test_an_old_heartbeat_makes_nobody_online(self, host: Host) -> None:
        Host.objects.update(last_seen=None)
        self.beat(host, received=timezone.now() - timedelta(hours=1))
        host.refresh_from_db()
        assert not host.is_online

    def test_one_read_twice_is_one_sample(self, host: Host) -> None:
        at = timezone.now()
        self.beat(host, received=at)
        self.beat(host, received=at)
        assert HostSample.objects.count() == 1

    def test_base_images_are_as_reported(self, host: Host) -> None:
        image = ImageInfo(
            slug="debian-bookworm", fingerprint="ab", name="nspawnweb-base-a", built=timezone.now(), bytes=1
        )
        report(host, images=[image])
        report(host, images=[image.model_copy(update={"bytes": 2})])
        assert BaseImage.objects.get().bytes == 2
        report(host)
        assert not BaseImage.objects.exists()

    def test_facts_are_kept(self, host: Host) -> None:
        Host.objects.update(facts={})
        report(host)
        host.refresh_from_db()
        assert host.facts["hostname"] == "srv1" and host.facts["checks"]

    def test_old_samples_go(self, host: Host, container: Container) -> None:
        for hours in (1, 8):
            at = timezone.now() - timedelta(hours=hours)
            HostSample.objects.create(host=host, at=at, data={})
            ContainerSample.objects.create(container=container, at=at, data={})
        upkeep.prune_samples()
        assert HostSample.objects.count() == ContainerSample.objects.count() == 1

    def test_a_host_that_fell_silent_is_told_to_pages(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        told: list[str] = []
        monkeypatch.setattr(upkeep.notify, "changed", lambda *topics: told.extend(topics))
        upkeep.tell_offline()
        assert told == []
        Host.objects.update(last_seen=timezone.now() - timedelta(seconds=17))
        upkeep.tell_offline()
        assert f"host:{host.pk}" in told and "hosts" in told
