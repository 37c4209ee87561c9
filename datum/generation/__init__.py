"""Generation: a personalized Stable Diffusion model draws the data set of the new place."""
