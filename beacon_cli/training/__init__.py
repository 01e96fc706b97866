"""Training a beacon on a frozen base model."""
