"""Typed thin layers over the D-Bus interfaces of systemd: org.freedesktop.systemd1 and machine1."""
