"""The trainings: options, data, batches, one recipe a network."""
