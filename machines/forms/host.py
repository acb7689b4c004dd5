"""Forms of hosts."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

from machines.models import DiscoveredMachine, Host
from teams.models import Team


class HostAddForm(forms.Form):
    name = forms.CharField(max_length=64, label="Name")

    def clean_name(self) -> str:
        """The rule of Host.name, and not that of an enrolled host."""
        name: str = self.cleaned_data["name"].lower()
        field = Host._meta.get_field("name")
        try:
            field.run_validators(name)
        except ValidationError as error:
            raise ValidationError(error.messages) from error
        if Host.objects.filter(name=name, revoked_at__isnull=True).exists():
            raise ValidationError(f"A host named {name} is enrolled already. Choose another name.", code="taken")
        return name


class AdoptForm(forms.Form):
    machine = forms.ModelChoiceField(DiscoveredMachine.objects.none())
    team = forms.ModelChoiceField(
        Team.objects.all(), error_messages={"required": "Pick the team that will own it."}, label="Team"
    )

    def __init__(self, data: object = None, *, host: Host) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        self.fields["machine"].queryset = host.discovered.all()  # type: ignore[attr-defined]
