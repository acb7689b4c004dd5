from machines.models.container import Container, ContainerState
from machines.models.discovered import DiscoveredMachine
from machines.models.host import EnrolmentToken, Host
from machines.models.release import BaseImage, Release
from machines.models.sample import ContainerSample, HostSample

__all__ = [
    "BaseImage",
    "Container",
    "ContainerSample",
    "ContainerState",
    "DiscoveredMachine",
    "EnrolmentToken",
    "Host",
    "HostSample",
    "Release",
]
