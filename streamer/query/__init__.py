"""The on-demand worker for searches in single pictures and for work on catalogs."""
