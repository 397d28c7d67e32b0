"""What is in view, and how sure: from a crop to what its track is taken for."""
