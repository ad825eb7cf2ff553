"""From clean tables to model inputs: one definition of each feature, for training and serving both."""
