"""What newer events bring: the refit before a promotion, and warm starts from the weights in service."""
