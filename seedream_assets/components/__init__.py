"""YAML → assets: the components that Dagster projects declare datasets with."""
