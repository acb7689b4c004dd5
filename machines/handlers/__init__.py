"""What this room does when jobs move and hosts speak: registered with tasks.registry at start."""

from machines.handlers.registered import MachineHandlers

__all__ = ["MachineHandlers"]
