"""Stage 3, the only package that spends: submit, wait, download, store."""
