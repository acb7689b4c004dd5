from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "machines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from machines.handlers import MachineHandlers
        from tasks.registry import register

        register(MachineHandlers())
