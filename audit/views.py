"""The page of the audit trail."""

from __future__ import annotations

from datetime import datetime, time

from django import forms
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from audit.http import AuthedRequest, page_links, render_page
from audit.models import AuditEvent
from audit.paging import page_of
from audit.readers import Scope, scope_of

DATE_ERRORS = {"invalid": "Write a date as 2026-01-31."}


class AuditFilter(forms.Form):
    who = forms.CharField(required=False, max_length=150, label="Who")
    action = forms.CharField(required=False, max_length=60, label="Act")
    what = forms.CharField(required=False, max_length=150, label="What")
    since = forms.DateField(
        required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}), error_messages=DATE_ERRORS
    )
    until = forms.DateField(
        required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}), error_messages=DATE_ERRORS
    )

    def query(self) -> Q:
        """What is chosen; the last day counts in full. Days are UTC, as the trail is."""
        self.is_valid()
        data = self.cleaned_data
        found = Q()
        if who := data.get("who"):
            found &= Q(actor_name__iexact=who)
        if action := data.get("action"):
            found &= Q(action__startswith=action.strip().lower())
        if what := data.get("what"):
            found &= Q(object_name__icontains=what) | Q(object_id=what)
        if since := data.get("since"):
            found &= Q(at__gte=datetime.combine(since, time.min, timezone.get_default_timezone()))
        if until := data.get("until"):
            found &= Q(at__lte=datetime.combine(until, time.max, timezone.get_default_timezone()))
        return found


@require_GET
def audit_list(request: AuthedRequest) -> HttpResponse:
    scope = scope_of(request.user)
    if scope is not None and not scope:
        raise Http404
    chosen = AuditFilter(request.GET)
    found = readable(scope).filter(chosen.query())
    page = page_of(found, ("-seq",), after=request.GET.get("after", ""), before=request.GET.get("before", ""))
    context = {
        "filter": chosen,
        "page": page,
        "narrow": chosen.has_changed(),
        "whole": scope is None,
        "links": page_links(request, page),
        "known_acts": readable(scope).order_by("action").values_list("action", flat=True).distinct(),
    }
    return render_page(request, "audit/audit_list.html", context, parts={"rows"})


def readable(scope: Scope) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.all()
    return events if scope is None else events.filter(team_id__in=scope)
