"""Model checkpoints on disk: reading the authors' merged ones, and making 4-bit models with a beacon of them."""
