"""The small base model of the demo: a StableDiffusionPipeline for 128x128 street scenes.

It takes the place of Stable Diffusion where no weights can be downloaded: its own autoencoder, UNet, CLIP
text encoder and tokenizer, trained on drawn street scenes of many domains and their captions. The trained
model lies in `weights/`; `python -m datum.streetscenes.model.train` makes it.
"""
