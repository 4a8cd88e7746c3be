"""Stage 2: what makes two requests the same, the plan, its quote, and what changed."""
