"""What goes wrong in a lab, said so that a person can act on it."""

from __future__ import annotations


class LabError(RuntimeError):
    """A lab act failed: `what` happened, `why`, and `todo`, what to do about it."""

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        self.what, self.why, self.todo = what, why, todo
        parts = [what.rstrip(".") + "."]
        parts += [f"Why: {why.strip()}"] if why.strip() else []
        parts += [f"What to do: {todo.strip()}"] if todo.strip() else []
        super().__init__("\n".join(parts))
