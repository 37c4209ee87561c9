"""The data sets: where their files lie, what can be wrong with them, and their conversion to train ids."""
