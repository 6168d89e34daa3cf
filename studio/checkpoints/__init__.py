"""Which checkpoints exist and what they are. Torch-free."""
