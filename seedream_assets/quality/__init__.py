"""Measures, scorers, and the judgement on them."""
