"""What is learned and how it is evaluated: models, their training, metrics. Knows no framework."""
