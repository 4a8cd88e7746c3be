"""Stage 1: prompt tables from wherever they lie, checked row by row, kept as a snapshot."""
