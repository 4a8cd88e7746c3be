"""THE ENGINE: submit → poll → download → verify → store, over the paid API and the object store. Sees no Dagster."""
