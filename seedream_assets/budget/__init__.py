"""Caps, reservations, the log of what was spent, and the statement."""
