"""Training of the built-in model: data, autoencoder, text encoder, UNet, export.

The studio itself never imports this package; run it with `python -m studio.training STAGE`.
It needs the extra `training` besides torch and diffusers, and `npm` to fetch the pictures.
"""
