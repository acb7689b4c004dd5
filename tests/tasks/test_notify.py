"""Hints to browsers: after the commit, once a transaction, never in the way."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

from tasks import notify


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    sent: list[list[str]] = []
    monkeypatch.setattr(notify, "_send", sent.append)
    return sent


@pytest.mark.django_db(transaction=True)
class TestCommit:
    def test_one_batch_after_the_commit_with_each_topic_once(self, hints: list[list[str]]) -> None:
        with transaction.atomic():
            for _ in range(100):
                notify.changed("jobs", "job:1")
            notify.changed("containers")
            assert hints == []
        assert hints == [["jobs", "job:1", "containers"]]

    def test_nothing_if_it_is_undone_and_the_next_is_told(self, hints: list[list[str]]) -> None:
        with pytest.raises(RuntimeError), transaction.atomic():
            notify.changed("jobs")
            raise RuntimeError
        with transaction.atomic():
            notify.changed("hosts")
        assert hints == [["hosts"]]

    def test_an_undone_part_takes_nothing_else_with_it(self, hints: list[list[str]]) -> None:
        with transaction.atomic():
            with pytest.raises(RuntimeError), transaction.atomic():
                notify.changed("job:undone")
                raise RuntimeError
            notify.changed("job:kept")
        assert hints == [["job:kept"]]

    def test_at_once_outside_of_a_transaction(self, hints: list[list[str]]) -> None:
        notify.changed("jobs")
        assert hints == [["jobs"]]


def test_a_consumer_of_the_group_hears_the_topic() -> None:
    layer: Any = get_channel_layer()
    topic = "job:0b8f4d6e-0000-4000-8000-000000000000"
    async_to_sync(layer.group_add)(notify.group(topic), "me")
    notify._send([topic])
    assert async_to_sync(layer.receive)("me") == {"type": "topic.changed", "topic": topic}


def test_a_layer_that_is_down_is_only_logged(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["unix:///nowhere/redis.sock"]},
        }
    }
    notify._send(["jobs"])
