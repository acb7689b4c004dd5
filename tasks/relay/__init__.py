"""The relay: hosts' streams into the database."""
