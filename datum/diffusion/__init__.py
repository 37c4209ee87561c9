"""Stable Diffusion pipelines of any size: named, loaded, and kept as checkpoints."""
