"""How good a bundle is, beside baselines and by group, and the report of it."""
