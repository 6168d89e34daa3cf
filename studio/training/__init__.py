"""Training of the built-in model: data, autoencoder, text encoder, UNet, export.

The studio itself never imports this package; run it with `python -m studio.training STAGE`.
It needs `resvg-py` and `scipy` besides torch and diffusers, and `npm` to fetch the pictures.
"""
