"""WebSockets: hints to pages, job events, journals, terminals. Each socket checks its own person's rights."""
