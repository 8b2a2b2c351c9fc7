"""The gateway: many dialects in front of every provider. ``app`` puts it together; ``exchange`` is the path of a call."""
