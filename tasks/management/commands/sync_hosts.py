"""`sync_hosts`: give hosts back the Redis users that a new or emptied Redis lacks."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tasks import hostlink


class Command(BaseCommand):
    help = "Make Redis's users of hosts equal to what the database says; prints those that changed."

    def handle(self, *args: Any, **options: Any) -> None:
        for name in hostlink.sync():
            self.stdout.write(name)
