"""Networks besides the Vision Transformer, and the answers of any network."""
