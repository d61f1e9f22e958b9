"""What one sees of a run: pages, figures and the numbers in them."""
