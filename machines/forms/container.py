"""Forms of containers. They say at the field what is wrong and what would be right; the services check all again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from contract.names import NameRuleError, check_container_name
from machines.models import Container, ContainerState, Host, Release
from machines.services.containers import CreateSpec
from machines.services.passwords import check_password
from teams.errors import Invalid
from teams.models import Team
from teams.permissions import Permission, teams_with


def clean_password(value: str) -> str:
    """The policy of the service, said at the field."""
    try:
        check_password(value)
    except Invalid as error:
        raise ValidationError(str(error), code=error.code) from error
    return value


class ContainerFilter(forms.Form):
    """The filter of the list, from the query string."""

    q = forms.CharField(required=False, max_length=100, label="Search")
    host = forms.ModelChoiceField(Host.objects.none(), required=False, empty_label="All hosts", label="Host")
    team = forms.ModelChoiceField(Team.objects.none(), required=False, empty_label="All teams", label="Team")
    state = forms.ChoiceField(required=False, choices=[("", "All states"), *ContainerState.choices], label="State")
    mine = forms.BooleanField(required=False, label="Only mine")

    def __init__(self, data: Any, *, hosts: QuerySet[Host], teams: QuerySet[Team]) -> None:
        super().__init__(data)
        self.fields["host"].queryset = hosts  # type: ignore[attr-defined]
        self.fields["team"].queryset = teams  # type: ignore[attr-defined]

    def values(self) -> dict[str, Any]:
        """Arguments of `machines.selectors.container_list`; a filter that names nothing is left out."""
        self.is_valid()
        given = {name: self.cleaned_data.get(name) for name in self.fields}
        return {
            "q": given["q"] or "",
            "host": given["host"],
            "team": given["team"],
            "state": given["state"] or "",
            "mine": bool(given["mine"]),
        }

    @property
    def is_narrow(self) -> bool:
        return any(self.values().values())


class HostField(forms.ModelChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    def to_python(self, value: Any) -> Any:
        """What is no UUID is as unknown as any other host; Django would speak of UUIDs."""
        try:
            return super().to_python(value)
        except ValidationError as error:
            raise ValidationError(self.error_messages["invalid_choice"], code="invalid_choice") from error


class CreateForm(forms.Form):
    name = forms.CharField(max_length=100, strip=True, label="Name")
    release = forms.ModelChoiceField(
        Release.objects.none(),
        to_field_name="slug",
        label="Release",
        error_messages={"required": "Pick a release: what the container runs.", "invalid_choice": "Pick one of these."},
    )
    host = HostField(
        Host.objects.none(),
        label="Host",
        error_messages={"required": "Pick the host that runs it.", "invalid_choice": "Pick one of these hosts."},
    )
    team = forms.ModelChoiceField(
        Team.objects.none(),
        label="Team",
        error_messages={"required": "Pick the team that owns it.", "invalid_choice": "Pick one of your teams."},
    )
    start = forms.BooleanField(required=False, initial=True, label="Start it when it is made")
    autostart = forms.BooleanField(required=False, label="Start with the host")
    root_password = forms.CharField(required=False, strip=False, max_length=1000, label="Root password")

    def __init__(self, data: Any = None, *, user: User, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        self.user = user
        self.releases = list(Release.objects.active())
        self.hosts = list(Host.objects.visible_to(user).enrolled())
        self.teams = list(teams_with(user, Permission.CONTAINER_CREATE))
        self.fields["release"].queryset = Release.objects.active()  # type: ignore[attr-defined]
        self.fields["host"].queryset = Host.objects.filter(pk__in=[host.pk for host in self.hosts])  # type: ignore[attr-defined]
        self.fields["team"].queryset = Team.objects.filter(pk__in=[team.pk for team in self.teams])  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        return _checked_name(self.cleaned_data["name"])

    def clean_root_password(self) -> str:
        value: str = self.cleaned_data["root_password"]
        return clean_password(value) if value else ""

    def clean(self) -> dict[str, Any]:
        """A name is taken as long as its container stands; whoever asks sees only that, not whose it is."""
        data = super().clean() or self.cleaned_data
        name, host = data.get("name"), data.get("host")
        if name and host and Container.objects.filter(host=host, name=name, removed_at__isnull=True).exists():
            self.add_error("name", f"The name {name} is taken on {host.name}. Choose another, or another host.")
        return data

    def spec(self) -> CreateSpec:
        data = self.cleaned_data
        return CreateSpec(
            name=data["name"],
            release=data["release"],
            start=data["start"],
            autostart=data["autostart"],
            root_password=data["root_password"] or None,
        )


def _checked_name(value: str) -> str:
    try:
        return check_container_name(value)
    except NameRuleError as error:
        raise ValidationError(str(error), code="name") from error


class PasswordForm(forms.Form):
    root_password = forms.CharField(
        strip=False,
        max_length=1000,
        label="New root password",
        error_messages={"required": "Write the new password, or press Generate."},
    )

    def clean_root_password(self) -> str:
        return clean_password(self.cleaned_data["root_password"])


class ConfirmForm(forms.Form):
    """Destruction asks for the name of what will be lost."""

    confirm = forms.CharField(required=False, max_length=200)

    def __init__(self, data: Any = None, *, wanted: str) -> None:
        super().__init__(data)
        self.wanted = wanted

    def clean_confirm(self) -> str:
        value: str = self.cleaned_data["confirm"].strip()
        if value != self.wanted:
            raise ValidationError(f"Type {self.wanted} to confirm; nothing was changed.", code="confirm")
        return value
