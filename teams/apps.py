from django.apps import AppConfig


class TeamsConfig(AppConfig):
    name = "teams"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit.readers import set_scope
        from teams.reading import audit_scope

        set_scope(audit_scope)
