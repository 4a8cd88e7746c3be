"""What is declared, each thing once: a dataset, its parts, a deployment, and what the image models allow. No network."""
