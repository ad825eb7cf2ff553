"""What models read: ids, users, texts, catalogue, queries, splits, batches. The same in training and serving."""
