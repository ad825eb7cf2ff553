"""What happened to answers: figures of experiments, sequential tests, the export of the prediction log."""
