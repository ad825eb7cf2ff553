"""Is it still well? Windows of data, and Evidently's drift reports of them."""
