"""`keys`: make the portal's keys, see that the server certificate is current, show the pin."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tasks import pki


class Command(BaseCommand):
    help = "Make what keys are missing, renew the server certificate if needed, print the pin that hosts check."

    def handle(self, *args: Any, **options: Any) -> None:
        pki.ensure()
        pki.refresh_server_certificate()
        self.stdout.write(pki.pin())
