"""Fits Magpie to its user: new weights and probabilities, kept only when they are better."""
