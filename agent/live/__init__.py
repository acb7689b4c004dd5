"""The live service: ships the outbox, reports state, and serves journals and terminals while somebody looks."""
