"""What an autoencoder makes of pictures, read from the names and shapes of its tensors."""

from studio.families._keys import Shapes

_FIRST = ("decoder.conv_in.weight", "decoder.layers.0.weight")
"""The convolution that a decoder begins with: the usual one, the tiny one."""
PREFIXES = ("vae.", "first_stage_model.", "")
"""Before the names of an autoencoder: in a folder, in a single file, in a file of its own."""


def latent_channels(shapes: Shapes) -> int:
    """Of the autoencoder among these tensors; 0 if there is none."""
    for prefix in PREFIXES:
        for name in _FIRST:
            shape = shapes.get(prefix + name, ())
            if len(shape) == 4:
                return shape[1]
    return 0
