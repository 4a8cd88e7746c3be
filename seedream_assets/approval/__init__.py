"""Preview, approve, and then the rest."""
