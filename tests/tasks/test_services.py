"""Asking for a job, cancelling it, running it again, giving it up: what happens, and who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from audit.models import AuditEvent
from audit.services import verify
from contract.live import CancelJob
from contract.orders import SetPassword, Stop
from machines.models import Container, Host
from tasks import dispatch
from tasks.errors import JobIsOver, JobNotOver
from tasks.models import Job, JobState
from tasks.services import job_cancel, job_declare_lost, job_request, job_retry
from teams.errors import Conflict, NotFound, PermissionDenied
from tests.factories import JobFactory
from tests.tasks.helpers import ask, event, finished, started, story, tell

pytestmark = pytest.mark.django_db
S = JobState
HASH = "$6$rounds=5000$salt$" + "a" * 86


@pytest.fixture(autouse=True)
def _silent(sent: list[Any], asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes to Redis."""
    monkeypatch.setattr(dispatch, "withdraw", lambda job: True)
    monkeypatch.setattr("tasks.services.client", lambda: type("R", (), {"set": lambda *a, **k: True})())


def running(job: Job, host: Host) -> Job:
    tell(host, event(job, 1, started()))
    return Job.objects.get(pk=job.pk)


class TestAsk:
    def test_the_order_is_sent_after_the_commit(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            job = ask(owner, container)
            assert sent == []
        assert [order.job for order in sent] == [job.pk]
        assert job.state == S.QUEUED and job.holds_container and job.sent_at is not None

    def test_nothing_is_sent_or_kept_if_the_caller_fails(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        from django.db import transaction

        with committed(), pytest.raises(RuntimeError), transaction.atomic():
            ask(owner, container)
            raise RuntimeError
        assert sent == [] and not Job.objects.exists() and not AuditEvent.objects.exists()

    def test_the_audit_row_names_who_what_and_where(self, owner: User, container: Container) -> None:
        job = ask(owner, container, Stop(name="web1"))
        row = AuditEvent.objects.get()
        assert (row.actor, row.action, row.object_id) == (owner, "container.stop", str(container.pk))
        assert row.team_id == container.team_id and row.detail["job"] == str(job.pk)

    def test_a_secret_stands_in_the_order_and_nowhere_in_plain(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            job = ask(owner, container, SetPassword(name="web1", root_password_hash=HASH))
        assert sent[0].params.root_password_hash == HASH
        row = Job.objects.get(pk=job.pk)
        assert row.params == {"kind": "container.password", "name": "web1"} and row.has_secrets
        assert HASH not in str(row.__dict__) and HASH not in str([e.__dict__ for e in AuditEvent.objects.all()])

    def test_an_order_is_the_same_each_time(self, owner: User, container: Container) -> None:
        job = ask(owner, container)
        again = Job.objects.get(pk=job.pk)
        assert dispatch.order_of(job).model_dump_json() == dispatch.order_of(again).model_dump_json()

    def test_the_second_job_of_a_container_waits_and_takes_its_turn(
        self, owner: User, container: Container, host: Host, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            first = ask(owner, container)
        with committed():
            second = ask(owner, container, Stop(name="web1"))
        assert [order.job for order in sent] == [first.pk] and not second.holds_container
        with committed():
            tell(host, *story(first, started(), finished()))
        assert [order.job for order in sent] == [first.pk, second.pk]
        assert Job.objects.get(pk=second.pk).holds_container

    def test_turns_go_in_the_order_of_asking(
        self, owner: User, container: Container, host: Host, sent: list[Any], committed: Any
    ) -> None:
        jobs = []
        for _ in range(4):
            with committed():
                jobs.append(ask(owner, container))
        for job in jobs:
            with committed():
                tell(host, *story(job, started(), finished()))
        assert [order.job for order in sent] == [job.pk for job in jobs]

    def test_a_job_on_a_host_alone_never_waits(
        self, operator: User, host: Host, sent: list[Any], committed: Any
    ) -> None:
        from contract.orders import Inventory

        for _ in range(3):
            with committed():
                job_request(by=operator, params=Inventory(), title="Look", host_id=host.pk, host_name=host.name)
        assert len(sent) == 3


class TestCancel:
    @pytest.mark.parametrize("who", ["owner", "teammate", "team_admin", "operator"])
    def test_may(self, who: str, owner: User, container: Container, request: pytest.FixtureRequest) -> None:
        job = job_cancel(by=request.getfixturevalue(who), job=ask(owner, container))
        assert job.state == S.CANCELLED and job.cancel_by_name

    @pytest.mark.parametrize(
        ("who", "error"), [("viewer", PermissionDenied), ("auditor", PermissionDenied), ("stranger", NotFound)]
    )
    def test_may_not(
        self, who: str, error: type[Exception], owner: User, container: Container, request: pytest.FixtureRequest
    ) -> None:
        job = ask(owner, container)
        with pytest.raises(error):
            job_cancel(by=request.getfixturevalue(who), job=job)
        assert Job.objects.get(pk=job.pk).state == S.QUEUED

    def test_a_queued_job_ends_at_once_and_its_host_is_told(
        self, owner: User, container: Container, asked: list[Any], committed: Any
    ) -> None:
        with committed():
            job = job_cancel(by=owner, job=ask(owner, container))
        assert job.state == S.CANCELLED
        assert asked == [(container.host_id, CancelJob(job=job.pk))]
        assert AuditEvent.objects.filter(action="job.cancel", actor=owner).count() == 1

    def test_a_running_job_ends_when_its_host_says_so(
        self, owner: User, container: Container, host: Host, asked: list[Any], committed: Any
    ) -> None:
        job = running(ask(owner, container), host)
        with committed():
            job = job_cancel(by=owner, job=job)
        assert job.state == S.RUNNING and job.cancel_requested_at
        assert asked == [(host.pk, CancelJob(job=job.pk))]
        tell(host, event(job, 2, finished("cancelled")))
        assert Job.objects.get(pk=job.pk).state == S.CANCELLED

    def test_a_job_that_was_quicker_than_the_cancel_has_succeeded(
        self, owner: User, container: Container, host: Host
    ) -> None:
        job = job_cancel(by=owner, job=running(ask(owner, container), host))
        tell(host, event(job, 2, finished("succeeded")))
        assert Job.objects.get(pk=job.pk).state == S.SUCCEEDED

    def test_can_be_pressed_again(
        self, owner: User, container: Container, host: Host, asked: list[Any], committed: Any
    ) -> None:
        job = running(ask(owner, container), host)
        for _ in range(2):
            with committed():
                job_cancel(by=owner, job=job)
        assert len(asked) == 2

    def test_nothing_is_left_to_cancel_in_an_ended_job(self, owner: User, container: Container) -> None:
        with pytest.raises(JobIsOver, match="succeeded already"):
            job_cancel(by=owner, job=JobFactory(container=container))

    def test_a_waiting_job_gets_its_turn_when_the_one_ahead_is_cancelled(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            first = ask(owner, container)
            second = ask(owner, container)
        with committed():
            job_cancel(by=owner, job=first)
        assert [order.job for order in sent] == [first.pk, second.pk]

    def test_a_host_that_starts_a_cancelled_job_is_told_to_stop(
        self, owner: User, container: Container, host: Host, asked: list[Any], committed: Any
    ) -> None:
        job = job_cancel(by=owner, job=ask(owner, container))
        asked.clear()
        with committed():
            tell(host, event(job, 1, started()))
        assert asked == [(host.pk, CancelJob(job=job.pk))]
        tell(host, event(job, 2, finished("succeeded", state="running")))
        job.refresh_from_db()
        assert job.state == S.CANCELLED and job.result["late_outcome"] == "succeeded"


class TestRetry:
    def failed(self, owner: User, container: Container, host: Host) -> Job:
        job = ask(owner, container)
        tell(host, *story(job, started(), finished("failed")))
        return Job.objects.get(pk=job.pk)

    @pytest.mark.parametrize("who", ["owner", "teammate", "team_admin", "operator"])
    def test_may(self, who: str, owner: User, container: Container, host: Host, request: pytest.FixtureRequest) -> None:
        job = self.failed(owner, container, host)
        again = job_retry(by=request.getfixturevalue(who), job=job)
        assert (again.retry_of, again.params, again.state) == (job, job.params, S.QUEUED)
        assert again.by == request.getfixturevalue(who)

    @pytest.mark.parametrize(
        ("who", "error"), [("viewer", PermissionDenied), ("auditor", PermissionDenied), ("stranger", NotFound)]
    )
    def test_may_not(
        self,
        who: str,
        error: type[Exception],
        owner: User,
        container: Container,
        host: Host,
        request: pytest.FixtureRequest,
    ) -> None:
        with pytest.raises(error):
            job_retry(by=request.getfixturevalue(who), job=self.failed(owner, container, host))

    @pytest.mark.parametrize("state", [S.QUEUED, S.RUNNING, S.SUCCEEDED])
    def test_only_of_a_failed_or_cancelled_job(self, state: JobState, owner: User, container: Container) -> None:
        with pytest.raises(JobNotOver):
            job_retry(by=owner, job=JobFactory(container=container, state=state))

    def test_with_the_same_password_within_a_day(
        self, owner: User, container: Container, host: Host, sent: list[Any], committed: Any
    ) -> None:
        job = ask(owner, container, SetPassword(name="web1", root_password_hash=HASH))
        tell(host, *story(job, started(), finished("failed")))
        with committed():
            job_retry(by=owner, job=job)
        assert sent[-1].params.root_password_hash == HASH

    def test_without_the_password_it_says_so_and_what_to_do(
        self, owner: User, container: Container, host: Host
    ) -> None:
        job = ask(owner, container, SetPassword(name="web1", root_password_hash=HASH))
        tell(host, *story(job, started(), finished("failed")))
        Job.objects.update(sealed="")
        with pytest.raises(Conflict, match="Ask for it anew"):
            job_retry(by=owner, job=job)

    def test_not_once_the_container_is_gone(self, owner: User, container: Container, host: Host) -> None:
        job = self.failed(owner, container, host)
        Container.objects.update(removed_at=timezone.now())
        with pytest.raises(Conflict, match="was removed"):
            job_retry(by=owner, job=job)

    def test_not_on_a_revoked_host(self, owner: User, container: Container, host: Host) -> None:
        job = self.failed(owner, container, host)
        Host.objects.update(revoked_at=timezone.now())
        with pytest.raises(Conflict, match="takes no orders"):
            job_retry(by=owner, job=job)


class TestDeclareLost:
    def test_by_an_operator_while_the_host_is_away(
        self, operator: User, owner: User, container: Container, host: Host, sent: list[Any], committed: Any
    ) -> None:
        job = running(ask(owner, container), host)
        with committed():
            waiting = ask(owner, container)
        Host.objects.update(last_seen=timezone.now() - timedelta(minutes=1))
        with committed():
            job = job_declare_lost(by=operator, job=job)
        assert job.state == S.FAILED and job.failure and job.failure["code"] == "declared_lost"
        assert sent[-1].job == waiting.pk

    def test_not_while_the_host_tells_of_it(
        self, operator: User, owner: User, container: Container, host: Host
    ) -> None:
        job = running(ask(owner, container), host)
        with pytest.raises(Conflict, match="Cancel it instead"):
            job_declare_lost(by=operator, job=job)

    def test_of_an_online_host_that_has_forgotten_the_job(
        self, operator: User, owner: User, container: Container, host: Host
    ) -> None:
        job = running(ask(owner, container), host)
        Job.objects.update(heard_at=timezone.now() - timedelta(minutes=10))
        assert job_declare_lost(by=operator, job=job).state == S.FAILED

    @pytest.mark.parametrize("who", ["owner", "team_admin", "auditor", "stranger"])
    def test_by_nobody_else(
        self, who: str, owner: User, container: Container, host: Host, request: pytest.FixtureRequest
    ) -> None:
        job = running(ask(owner, container), host)
        with pytest.raises(PermissionDenied):
            job_declare_lost(by=request.getfixturevalue(who), job=job)

    def test_what_the_host_says_later_is_kept(
        self, operator: User, owner: User, container: Container, host: Host
    ) -> None:
        job = running(ask(owner, container), host)
        Host.objects.update(last_seen=None)
        job_declare_lost(by=operator, job=job)
        tell(host, event(job, 2, finished("succeeded", state="running")))
        job.refresh_from_db()
        assert job.state == S.FAILED and job.result["late_outcome"] == "succeeded"


def test_all_of_it_leaves_an_unbroken_audit_chain(owner: User, container: Container, host: Host) -> None:
    job = ask(owner, container)
    job_cancel(by=owner, job=job)
    job_retry(by=owner, job=job)
    assert verify() == [] and AuditEvent.objects.count() == 3


@pytest.mark.parametrize(
    ("who", "sees"),
    [("owner", True), ("teammate", True), ("viewer", True), ("operator", True), ("auditor", True), ("stranger", False)],
)
def test_jobs_are_visible_to_the_team(
    who: str, sees: bool, owner: User, container: Container, request: pytest.FixtureRequest
) -> None:
    job = ask(owner, container)
    assert Job.objects.visible_to(request.getfixturevalue(who)).filter(pk=job.pk).exists() is sees


def test_jobs_on_hosts_are_for_site_roles(owner: User, operator: User, auditor: User, host: Host) -> None:
    JobFactory(host=host, kind="image.build", title="Build")
    assert not Job.objects.visible_to(owner).exists()
    assert Job.objects.visible_to(operator).exists() and Job.objects.visible_to(auditor).exists()
