"""What is done with a machine or with a finished run: python -m tools.NAME."""
