"""From text to vectors: the encoder, its fine-tuning, its weights; other modalities beside it."""
