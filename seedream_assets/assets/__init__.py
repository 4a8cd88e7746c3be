"""The four assets of a dataset and their checks: read, call core or engine, write, report. Thin on purpose."""
