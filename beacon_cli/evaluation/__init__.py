"""What a model can do with long texts: tasks, methods to compare, and what comes out."""
