"""How good a catalog is, and what its evidence is worth."""
