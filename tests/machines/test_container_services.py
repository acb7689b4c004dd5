"""Writes on containers and hosts: what each makes, and who may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from passlib.hash import sha512_crypt

from audit.models import AuditEvent
from machines.models import Container, ContainerState, DiscoveredMachine, Host, Release
from machines.services import containers, hosts
from machines.services.containers import CreateSpec, container_create
from tasks import hostlink
from tasks.models import Job, JobState
from teams.errors import Conflict, Invalid, NotFound, PermissionDenied, Unavailable
from teams.models import Team
from tests.factories import ContainerFactory, DiscoveredFactory, HostFactory, JobFactory

pytestmark = pytest.mark.django_db
S = ContainerState
ACTS: dict[str, Callable[..., Job]] = {
    "start": containers.container_start,
    "stop": containers.container_stop,
    "restart": containers.container_restart,
    "kill": containers.container_kill,
    "enable": containers.container_enable,
    "disable": containers.container_disable,
}


@pytest.fixture(autouse=True)
def _nothing_is_sent(sent: list[Any]) -> None:
    pass


def spec(release: Release, name: str = "new1", **more: Any) -> CreateSpec:
    return CreateSpec(name=name, release=release, **more)


class TestCreate:
    @pytest.mark.parametrize("who", ["owner", "teammate", "team_admin", "operator"])
    def test_may(self, who: str, team: Team, host: Host, release: Release, request: pytest.FixtureRequest) -> None:
        user = request.getfixturevalue(who)
        container, job = container_create(by=user, team=team, host=host, spec=spec(release))
        assert (container.state, container.owner, container.team, container.created) == (S.CREATING, user, team, False)
        assert (job.kind, job.container_id, job.title) == ("container.create", container.pk, "Create container new1")
        assert AuditEvent.objects.get(action="container.create").object_id == str(container.pk)

    @pytest.mark.parametrize(
        ("who", "error"), [("viewer", PermissionDenied), ("auditor", PermissionDenied), ("stranger", NotFound)]
    )
    def test_may_not(
        self, who: str, error: type[Exception], team: Team, host: Host, release: Release, request: pytest.FixtureRequest
    ) -> None:
        with pytest.raises(error):
            container_create(by=request.getfixturevalue(who), team=team, host=host, spec=spec(release))
        assert not Container.objects.exists() and not Job.objects.exists()

    def test_the_order_has_the_whole_recipe(
        self, owner: User, team: Team, host: Host, release: Release, sent: list[Any], committed: Any
    ) -> None:
        release.packages = ["openssh-server"]
        with committed():
            container_create(by=owner, team=team, host=host, spec=spec(release, start=False, autostart=True))
        params = sent[0].params
        assert (params.name, params.start, params.autostart) == ("new1", False, True)
        assert (params.release.slug, params.release.packages) == ("debian-bookworm", ("openssh-server",))
        assert params.root_password_hash is None

    def test_a_password_travels_as_a_hash_and_is_nowhere_else(
        self, owner: User, team: Team, host: Host, release: Release, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            container_create(by=owner, team=team, host=host, spec=spec(release, root_password="correct horse"))
        hashed = sent[0].params.root_password_hash
        assert sha512_crypt.verify("correct horse", hashed)
        stored = str(
            [row.__dict__ for row in [*Job.objects.all(), *AuditEvent.objects.all(), *Container.objects.all()]]
        )
        assert "correct horse" not in stored and hashed not in stored
        assert "correct horse" not in repr(spec(release, root_password="correct horse"))

    @pytest.mark.parametrize(
        "name", ["", "Web", "-a", "a-", "a_b", "a.b", "a b", "x" * 49, "nspawnweb-x", "localhost", "../x", "a\n"]
    )
    def test_a_name_that_breaks_a_rule_says_which(
        self, name: str, owner: User, team: Team, host: Host, release: Release
    ) -> None:
        with pytest.raises(Invalid) as caught:
            container_create(by=owner, team=team, host=host, spec=spec(release, name))
        assert caught.value.field == "name" and caught.value.code == "name_rule" and len(caught.value.what) > 30

    @pytest.mark.parametrize("password", ["short", "x" * 129, "with\nnewline", "with\0nul-in-it"])
    def test_a_password_that_no_login_takes_is_refused(
        self, password: str, owner: User, team: Team, host: Host, release: Release
    ) -> None:
        with pytest.raises(Invalid) as caught:
            container_create(by=owner, team=team, host=host, spec=spec(release, root_password=password))
        assert caught.value.field == "root_password" and password not in str(caught.value)

    def test_a_taken_name_is_told_at_once_also_of_another_team(
        self, owner: User, team: Team, host: Host, release: Release
    ) -> None:
        ContainerFactory(name="new1", host=host)
        with pytest.raises(Conflict, match="new1 is taken on srv1") as caught:
            container_create(by=owner, team=team, host=host, spec=spec(release))
        assert caught.value.code == "name_taken"

    def test_a_machine_made_by_hand_has_its_name(self, owner: User, team: Team, host: Host, release: Release) -> None:
        DiscoveredFactory(host=host, name="new1")
        with pytest.raises(Conflict, match="taken"):
            container_create(by=owner, team=team, host=host, spec=spec(release))

    def test_the_same_name_on_another_host_or_after_removal_is_free(
        self, owner: User, team: Team, host: Host, release: Release
    ) -> None:
        from django.utils import timezone

        ContainerFactory(name="new1", host=HostFactory())
        ContainerFactory(name="new1", host=host, removed_at=timezone.now())
        container_create(by=owner, team=team, host=host, spec=spec(release))

    def test_a_release_that_is_not_offered(self, owner: User, team: Team, host: Host, release: Release) -> None:
        release.active = False
        with pytest.raises(Invalid, match="not offered"):
            container_create(by=owner, team=team, host=host, spec=spec(release))

    def test_a_release_whose_recipe_is_broken(self, owner: User, team: Team, host: Host, release: Release) -> None:
        release.packages = ["--allow-untrusted"]
        with pytest.raises(Invalid, match="breaks a rule") as caught:
            container_create(by=owner, team=team, host=host, spec=spec(release))
        assert "not a package name" in caught.value.why

    @pytest.mark.parametrize("field", ["revoked_at", "enrolled_at"])
    def test_a_host_that_takes_no_orders(
        self, field: str, owner: User, team: Team, host: Host, release: Release
    ) -> None:
        from django.utils import timezone

        setattr(host, field, timezone.now() if field == "revoked_at" else None)
        with pytest.raises(Conflict, match="takes no orders"):
            container_create(by=owner, team=team, host=host, spec=spec(release))

    def test_an_offline_host_is_taken_and_the_job_waits(
        self, owner: User, team: Team, host: Host, release: Release
    ) -> None:
        from tasks.selectors import waiting_reason

        Host.objects.update(last_seen=None)
        _, job = container_create(by=owner, team=team, host=host, spec=spec(release))
        assert job.state == JobState.QUEUED and "srv1 is offline" in waiting_reason(job)


@pytest.mark.django_db(transaction=True)
def test_of_two_who_want_a_name_at_once_one_gets_it(owner: User, team: Team, host: Host, release: Release) -> None:
    barrier, results = threading.Barrier(4), list[object]()

    def create() -> None:
        try:
            barrier.wait()
            results.append(container_create(by=owner, team=team, host=host, spec=spec(release)))
        except Exception as error:
            results.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    refused = [result for result in results if isinstance(result, Conflict)]
    assert len(results) == 4 and len(refused) == 3, results
    assert Container.objects.count() == Job.objects.count() == AuditEvent.objects.count() == 1


class TestActs:
    @pytest.mark.parametrize("act", sorted(ACTS))
    @pytest.mark.parametrize("who", ["owner", "teammate", "team_admin", "operator"])
    def test_may(self, act: str, who: str, container: Container, request: pytest.FixtureRequest) -> None:
        job = ACTS[act](by=request.getfixturevalue(who), container=container)
        assert job.kind == f"container.{act}" and job.params["name"] == "web1"
        assert AuditEvent.objects.get().action == job.kind

    @pytest.mark.parametrize("act", sorted(ACTS))
    @pytest.mark.parametrize(
        ("who", "error"), [("viewer", PermissionDenied), ("auditor", PermissionDenied), ("stranger", NotFound)]
    )
    def test_may_not(
        self, act: str, who: str, error: type[Exception], container: Container, request: pytest.FixtureRequest
    ) -> None:
        with pytest.raises(error):
            ACTS[act](by=request.getfixturevalue(who), container=container)
        assert not Job.objects.exists() and not AuditEvent.objects.exists()

    @pytest.mark.parametrize("act", sorted(ACTS))
    @pytest.mark.parametrize("state", [S.CREATING, S.REMOVING])
    def test_not_while_it_is_being_made_or_removed(
        self, act: str, state: ContainerState, owner: User, container: Container
    ) -> None:
        Container.objects.update(state=state)
        with pytest.raises(Conflict, match="cannot do this now"):
            ACTS[act](by=owner, container=container)

    def test_not_on_one_that_was_never_made(self, owner: User, container: Container) -> None:
        Container.objects.update(state=S.FAILED, created=False)
        with pytest.raises(Conflict, match="never made"):
            containers.container_start(by=owner, container=container)

    def test_not_on_one_that_was_removed(self, owner: User, container: Container) -> None:
        from django.utils import timezone

        Container.objects.update(removed_at=timezone.now())
        with pytest.raises(Conflict, match="was removed"):
            containers.container_start(by=owner, container=container)


class TestPassword:
    def test_a_new_one_travels_as_a_hash(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            containers.container_set_password(by=owner, container=container, password="correct horse")
        assert sha512_crypt.verify("correct horse", sent[0].params.root_password_hash)

    @pytest.mark.parametrize(
        ("who", "error"), [("viewer", PermissionDenied), ("auditor", PermissionDenied), ("stranger", NotFound)]
    )
    def test_may_not(
        self, who: str, error: type[Exception], container: Container, request: pytest.FixtureRequest
    ) -> None:
        with pytest.raises(error):
            containers.container_set_password(
                by=request.getfixturevalue(who), container=container, password="correct horse"
            )


class TestRemove:
    @pytest.mark.parametrize("who", ["owner", "team_admin", "operator"])
    def test_may(self, who: str, container: Container, request: pytest.FixtureRequest) -> None:
        job = containers.container_remove(by=request.getfixturevalue(who), container=container)
        container.refresh_from_db()
        assert job.kind == "container.remove" and container.state == S.REMOVING

    @pytest.mark.parametrize(
        ("who", "error"),
        [
            ("teammate", PermissionDenied),
            ("viewer", PermissionDenied),
            ("auditor", PermissionDenied),
            ("stranger", NotFound),
        ],
    )
    def test_may_not(
        self, who: str, error: type[Exception], container: Container, request: pytest.FixtureRequest
    ) -> None:
        with pytest.raises(error):
            containers.container_remove(by=request.getfixturevalue(who), container=container)
        container.refresh_from_db()
        assert container.state == S.RUNNING

    @pytest.mark.parametrize("state", [S.FAILED, S.MISSING, S.CREATING, S.STOPPED])
    def test_whatever_state_it_is_in(self, state: ContainerState, owner: User, container: Container) -> None:
        Container.objects.update(state=state, created=state != S.CREATING)
        assert containers.container_remove(by=owner, container=container).state == JobState.QUEUED

    def test_on_a_revoked_host_the_entry_goes_at_once(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        from django.utils import timezone

        Host.objects.update(revoked_at=timezone.now())
        with committed():
            job = containers.container_remove(by=owner, container=container)
        container.refresh_from_db()
        assert job.state == JobState.SUCCEEDED and container.removed_at is not None and sent == []


class TestAdopt:
    def test_an_operator_gives_a_found_machine_to_a_team(self, operator: User, team: Team, host: Host) -> None:
        found = DiscoveredFactory(host=host, name="byhand")
        container = containers.container_adopt(by=operator, discovered=found, team=team)
        assert (container.state, container.created, container.team) == (S.RUNNING, True, team)
        assert not DiscoveredMachine.objects.exists()
        assert AuditEvent.objects.get().action == "container.adopt"

    @pytest.mark.parametrize("who", ["owner", "team_admin", "auditor", "stranger"])
    def test_nobody_else(self, who: str, team: Team, host: Host, request: pytest.FixtureRequest) -> None:
        found = DiscoveredFactory(host=host)
        with pytest.raises(PermissionDenied):
            containers.container_adopt(by=request.getfixturevalue(who), discovered=found, team=team)

    def test_a_name_that_orders_cannot_carry(self, operator: User, team: Team, host: Host) -> None:
        found = DiscoveredFactory(host=host, name="Old_Machine")
        with pytest.raises(Conflict, match="machinectl rename"):
            containers.container_adopt(by=operator, discovered=found, team=team)


class TestHosts:
    @pytest.fixture(autouse=True)
    def _no_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.revoked: list[object] = []
        monkeypatch.setattr(hostlink, "revoke", self.revoked.append)

    def test_a_revoked_host_takes_its_jobs_and_states_with_it(
        self, operator: User, container: Container, host: Host
    ) -> None:
        running = JobFactory(container=container, state=JobState.RUNNING, holds_container=True)
        queued = JobFactory(container=container, state=JobState.QUEUED)
        hosts.host_revoke(by=operator, host=host)
        for job in (running, queued):
            job.refresh_from_db()
            assert job.state == JobState.FAILED and job.failure["code"] == "host_revoked"
        container.refresh_from_db()
        assert container.state == S.MISSING and self.revoked == [host.pk]
        with pytest.raises(Conflict, match="revoked already"):
            hosts.host_revoke(by=operator, host=host)

    def test_nothing_changes_if_redis_does_not_answer(
        self, operator: User, host: Host, container: Container, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(host_id: object) -> None:
            raise Unavailable("redis_unavailable", "Redis does not answer.")

        monkeypatch.setattr(hostlink, "revoke", down)
        with pytest.raises(Unavailable):
            hosts.host_revoke(by=operator, host=host)
        host.refresh_from_db()
        assert host.revoked_at is None and not AuditEvent.objects.exists()

    @pytest.mark.parametrize("who", ["owner", "team_admin", "auditor", "stranger"])
    def test_only_operators(self, who: str, host: Host, release: Release, request: pytest.FixtureRequest) -> None:
        user = request.getfixturevalue(who)
        with pytest.raises(PermissionDenied):
            hosts.host_revoke(by=user, host=host)
        with pytest.raises(PermissionDenied):
            hosts.image_build(by=user, host=host, release=release)

    def test_an_image_build_is_a_job_of_the_host(
        self, operator: User, host: Host, release: Release, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            job = hosts.image_build(by=operator, host=host, release=release, rebuild=True)
        assert (job.container_id, job.team, job.kind) == (None, None, "image.build")
        assert sent[0].params.rebuild is True
        assert AuditEvent.objects.get().object_type == "host"


def test_every_release_that_comes_along_is_a_valid_recipe(releases_that_come_along: None) -> None:
    slugs = {release.slug for release in Release.objects.active() if release.spec()}
    assert {"debian-bullseye", "debian-bookworm", "debian-trixie", "debian-sid"} <= slugs
    assert {"ubuntu-jammy", "ubuntu-noble", "ubuntu-resolute"} <= slugs
