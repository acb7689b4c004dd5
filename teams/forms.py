"""Forms of teams and of one's profile."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.text import slugify

from teams.models import Role, Team


class TeamForm(forms.Form):
    name = forms.CharField(
        max_length=48, label="Name", error_messages={"required": "A team needs a name, for example Web shop."}
    )

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not slugify(name):
            raise ValidationError("Use at least one letter a-z or digit, so that the team has an address.", code="slug")
        if Team.objects.filter(name__iexact=name).exists() or Team.objects.filter(slug=slugify(name)).exists():
            raise ValidationError(f"There is a team named {name} already. Choose another name.", code="taken")
        return name


class MemberForm(forms.Form):
    username = forms.CharField(
        max_length=150, label="Login name", error_messages={"required": "Write the person's login name."}
    )
    role = forms.ChoiceField(choices=Role.choices, initial=Role.DEVELOPER, label="Role")


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class TokenForm(forms.Form):
    LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Never")]

    name = forms.CharField(
        max_length=80, label="Name", error_messages={"required": "Name what will use it, for example laptop."}
    )
    days = forms.ChoiceField(choices=LIFETIMES, required=False, initial="90", label="Expires after")

    def expires_at(self) -> datetime | None:
        days = self.cleaned_data["days"]
        return timezone.now() + timedelta(days=int(days)) if days else None
