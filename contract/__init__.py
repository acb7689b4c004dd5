"""The words that portal and host agent share: orders, events, live messages, name rules, Redis keys.

Both sides validate with these models; neither trusts the other's word. Pydantic only.
"""

PROTOCOL = 1
"""Version of the messages below. A side that meets another version refuses and says so."""
