"""THE PAID API: httpx in, core values out. Knows Leonardo's HTTP; knows no store, no Dagster and no plan."""
