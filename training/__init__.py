"""From the constants of a script to a trained model."""
