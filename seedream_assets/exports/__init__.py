"""What a dataset is handed over as: written from its manifests alone, and opened with its consumers' own libraries."""
