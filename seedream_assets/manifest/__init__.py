"""Stage 4: one row per wanted image; its verification, its trace."""
