from django.apps import AppConfig


class MachinesConfig(AppConfig):
    name = "machines"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from machines.handlers import MachineHandlers
        from machines.live_targets import MachineTargets
        from tasks.live.registry import register as register_targets
        from tasks.registry import register

        register(MachineHandlers())
        register_targets(MachineTargets())
