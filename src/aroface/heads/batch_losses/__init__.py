"""Losses of a whole batch: of its images, their embeddings and the loss of each sample."""
