"""How good it is: rankers beside baselines, measures, significance, the report."""
