"""A simulated shop: catalogue, behaviour, reviews, and the dirt that real tables have."""
