"""Meta-learning: initialisations from which weights and architecture adapt to a new task in a few steps."""
