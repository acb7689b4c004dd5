"""The portal's own Celery app: worker and beat, on its own keys in Redis, with signed messages as the hosts have them.

`celery -A nspawnweb worker --beat` runs both in one process; with several workers run one beat by itself.
"""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nspawnweb.settings")

import django
from celery import Celery
from django.conf import settings

django.setup()

from tasks import pki  # noqa: E402 - needs Django's apps
from tasks.dispatch import register_serializer  # noqa: E402 - needs Django's apps
from tasks.redis import broker_url  # noqa: E402 - needs Django's apps
from tasks.sweep import EVERY_S  # noqa: E402 - needs Django's apps

app = Celery("nspawnweb", set_as_current=True)
app.conf.update(
    broker_url=broker_url(),
    broker_transport_options={"global_keyprefix": "portal:", "visibility_timeout": 3600},
    broker_connection_retry_on_startup=True,
    task_default_queue="portal",
    task_ignore_result=True,
    task_serializer="auth",
    event_serializer="json",
    accept_content=["auth"],
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    worker_pool="threads",
    worker_concurrency=2,
    worker_prefetch_multiplier=1,
    timezone="UTC",
    beat_schedule_filename=str(settings.VAR / "celerybeat-schedule"),
    beat_schedule={
        "sweep": {"task": "portal.sweep", "schedule": EVERY_S, "options": {"expires": EVERY_S * 2}},
        "tell offline": {"task": "portal.tell_offline", "schedule": 5.0, "options": {"expires": 10.0}},
        "prune samples": {"task": "portal.prune_samples", "schedule": 600.0},
        "prune terminals": {"task": "portal.prune_terminals", "schedule": 3600.0},
    },
)
pki.ensure()
register_serializer()
app.autodiscover_tasks(["tasks", "machines"], related_name="celery_tasks")
