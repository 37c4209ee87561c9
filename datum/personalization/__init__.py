"""Personalization: DreamBooth teaches a Stable Diffusion model the look of one image of the new place."""
