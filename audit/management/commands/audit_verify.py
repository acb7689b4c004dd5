"""`audit_verify`: check the whole chain; exit code 1 where it is broken."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.models import AuditHead
from audit.services import GENESIS, HEAD_PK, verify


class Command(BaseCommand):
    help = "Check the audit chain. Note the printed head elsewhere: it proves that no rows were cut off later."

    def handle(self, *args: Any, **options: Any) -> None:
        problems = verify()
        for problem in problems:
            self.stderr.write(f"row {problem.seq}: {problem.what}")
        if problems:
            raise CommandError(f"The audit chain is broken in {len(problems)} places.", returncode=1)
        head = AuditHead.objects.filter(pk=HEAD_PK).first()
        self.stdout.write(f"{head.seq if head else 0} rows, unbroken. Head: {head.hash if head else GENESIS}")
