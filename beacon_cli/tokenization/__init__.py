"""The tokenizers of checkpoints on tiktoken."""
