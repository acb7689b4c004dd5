"""Turns on a container under races, and the sweep that mends what a crash left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from contract.live import CancelJob, ResendEvents
from machines.models import Container, Host
from tasks import dispatch, sweep, turns
from tasks.models import Job, JobEvent, JobState
from tasks.services import job_cancel
from tests.factories import JobFactory
from tests.tasks.helpers import ask, event, finished, output, started, story, tell

S = JobState


def at_once(*acts: Callable[[], Any]) -> list[BaseException]:
    """Run all in threads with connections of their own, begun together; what they raised."""
    barrier, errors = threading.Barrier(len(acts)), list[BaseException]()

    def run(act: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            act()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_one_holds_the_container(owner: User, container: Container, sent: list[Any]) -> None:
    assert at_once(*[lambda: ask(owner, container)] * 6) == []
    assert Job.objects.filter(holds_container=True).count() == 1
    assert Job.objects.filter(state=S.QUEUED).count() == 6
    assert [order.job for order in sent] == [Job.objects.get(holds_container=True).pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_again", range(5))
def test_asking_while_the_holder_ends_never_leaves_a_job_without_a_turn(
    _again: int, owner: User, container: Container, host: Host, sent: list[Any]
) -> None:
    first = ask(owner, container)

    def end() -> None:
        with transaction.atomic():
            tell(host, *story(first, started(), finished()))

    assert at_once(end, lambda: ask(owner, container), lambda: ask(owner, container)) == []
    waiting = Job.objects.exclude(pk=first.pk)
    assert waiting.filter(holds_container=True).count() == 1
    assert len({order.job for order in sent}) == len(sent) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("_again", range(5))
def test_a_cancel_and_a_start_at_once_leave_one_clear_state(
    _again: int, owner: User, container: Container, host: Host, sent: list[Any], asked: list[Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("tasks.services.tell_cancelled", lambda job: None)
    job = ask(owner, container)

    def start() -> None:
        with transaction.atomic():
            tell(host, event(job, 1, started()))

    assert at_once(start, lambda: job_cancel(by=owner, job=job)) == []
    job.refresh_from_db()
    assert job.cancel_requested_at and job.last_seq == 1
    assert (job.state == S.RUNNING) or (job.state == S.CANCELLED and asked == [(host.pk, CancelJob(job=job.pk))])


@pytest.mark.django_db(transaction=True)
def test_the_database_itself_lets_only_one_hold(container: Container) -> None:
    JobFactory(container=container, state=S.RUNNING, holds_container=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        JobFactory(container=container, state=S.QUEUED, holds_container=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        JobFactory(container=container, state=S.SUCCEEDED, holds_container=True)


@pytest.mark.django_db
class TestSweep:
    @pytest.fixture(autouse=True)
    def _no_redis(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: list[bytes] = []
        monkeypatch.setattr(dispatch, "queued_orders", lambda host_id: self.queue)
        monkeypatch.setattr(dispatch, "withdraw", lambda job: True)
        monkeypatch.setattr(sweep, "_once", lambda name, seconds: True)

    def old(self, **changes: Any) -> None:
        Job.objects.update(**{name: timezone.now() - timedelta(seconds=s) for name, s in changes.items()})

    def test_an_order_that_could_not_be_sent_is_sent(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        job = ask(owner, container)
        Job.objects.update(sent_at=None)
        with committed():
            sweep.sweep()
            sweep.sweep()
        assert [order.job for order in sent] == [job.pk]

    def test_an_order_that_was_lost_is_sent_again_the_same_to_the_byte(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        with committed():
            ask(owner, container)
        self.old(sent_at=31)
        sweep.sweep()
        assert len(sent) == 2 and sent[0].model_dump_json() == sent[1].model_dump_json()

    def test_an_order_that_still_waits_in_the_queue_is_not_doubled(
        self, owner: User, container: Container, sent: list[Any]
    ) -> None:
        job = ask(owner, container)
        self.queue.append(b'{"headers": {"id": "%s"}}' % str(job.pk).encode())
        self.old(sent_at=31)
        sweep.sweep()
        assert sent == []

    def test_a_host_that_is_off_is_left_alone(self, owner: User, container: Container, sent: list[Any]) -> None:
        ask(owner, container)
        self.old(sent_at=3600)
        Host.objects.update(last_seen=None)
        sweep.sweep()
        assert sent == []

    def test_a_waiting_job_is_not_sent_before_its_turn(
        self, owner: User, container: Container, sent: list[Any], committed: Any
    ) -> None:
        ask(owner, container)
        second = ask(owner, container)
        with committed():
            sweep.sweep()
        assert second.pk not in [order.job for order in sent]

    def test_a_lost_turn_is_given(self, owner: User, container: Container, sent: list[Any], committed: Any) -> None:
        first, second = ask(owner, container), ask(owner, container)
        Job.objects.filter(pk=first.pk).update(state=S.FAILED, holds_container=False)  # and then the process died
        assert turns.waiting_containers() == [container.pk]
        with committed():
            sweep.sweep()
        assert [order.job for order in sent] == [second.pk]

    def test_an_order_whose_host_stayed_away_fails_and_says_so(
        self, owner: User, container: Container, host: Host, sent: list[Any], settings: Any, committed: Any
    ) -> None:
        settings.ORDER_LIFETIME_S = 60
        job = ask(owner, container)
        Host.objects.update(last_seen=None)
        self.old(created_at=61)
        with committed():
            sweep.sweep()
        job.refresh_from_db()
        assert job.state == S.FAILED and job.failure and job.failure["code"] == "host_offline"
        assert "srv1 is offline" in job.failure["what"] and job.failure["hint"]

    def test_an_order_that_a_busy_host_never_took_expires_too(
        self, owner: User, container: Container, sent: list[Any], settings: Any
    ) -> None:
        settings.ORDER_LIFETIME_S = 60
        job = ask(owner, container)
        self.old(created_at=61)
        sweep.sweep()
        job.refresh_from_db()
        assert job.failure and job.failure["code"] == "order_expired"

    def test_a_cancel_is_repeated_until_the_host_obeys(
        self, owner: User, container: Container, host: Host, asked: list[Any], sent: list[Any]
    ) -> None:
        job = ask(owner, container)
        tell(host, event(job, 1, started()))
        self.old(cancel_requested_at=11)
        sweep.sweep()
        assert asked == [(host.pk, CancelJob(job=job.pk))]

    def test_a_cancel_ends_a_job_that_its_host_has_forgotten(
        self, owner: User, container: Container, host: Host, asked: list[Any], sent: list[Any], committed: Any
    ) -> None:
        job = ask(owner, container)
        tell(host, event(job, 1, started()))
        waiting = ask(owner, container)
        self.old(cancel_requested_at=121)
        sweep.sweep()
        assert Job.objects.get(pk=job.pk).state == S.RUNNING
        self.old(heard_at=121)
        with committed():
            sweep.sweep()
        job.refresh_from_db()
        assert job.state == S.FAILED and job.failure and job.failure["code"] == "no_answer"
        assert waiting.pk in [order.job for order in sent]

    def test_a_silent_job_is_asked_after(
        self, owner: User, container: Container, host: Host, asked: list[Any], sent: list[Any]
    ) -> None:
        job = ask(owner, container)
        tell(host, event(job, 1, started()))
        sweep.sweep()
        assert asked == []
        self.old(heard_at=600)
        sweep.sweep()
        assert asked == [(host.pk, ResendEvents(job=job.pk, after=1))]

    def test_a_gap_that_stayed_is_asked_for_again(
        self, owner: User, container: Container, host: Host, asked: list[Any], sent: list[Any]
    ) -> None:
        job = ask(owner, container)
        tell(host, event(job, 1, started()))
        JobEvent.objects.create(job=job, seq=5, at=timezone.now(), type="output", data=output("x").model_dump())
        sweep.sweep()
        assert asked == [(host.pk, ResendEvents(job=job.pk, after=1))]

    def test_secrets_of_failed_jobs_go_after_a_day(self, container: Container) -> None:
        JobFactory(container=container, state=S.FAILED, sealed="x", finished_at=timezone.now() - timedelta(hours=25))
        kept = JobFactory(container=container, state=S.FAILED, sealed="x")
        sweep.sweep()
        assert list(Job.objects.exclude(sealed="")) == [kept]

    def test_one_part_that_fails_does_not_stop_the_others(
        self, owner: User, container: Container, sent: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask(owner, container)
        Job.objects.update(sent_at=None)

        def broken() -> None:
            raise RuntimeError

        monkeypatch.setattr(sweep, "expire", broken)
        sweep.sweep()
        assert len(sent) == 1

    def test_a_job_whose_container_went_while_it_waited_is_not_sent(
        self, owner: User, container: Container, host: Host, sent: list[Any], committed: Any
    ) -> None:
        from contract.orders import Remove

        with committed():
            removing = ask(owner, container, Remove(name="web1"))
            starting = ask(owner, container)
        with committed():
            tell(host, *story(removing, started(), finished()))
        starting.refresh_from_db()
        assert [order.job for order in sent] == [removing.pk]
        assert starting.failure and starting.failure["code"] == "no_longer_possible"
