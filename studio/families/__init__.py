"""Architectures as data: how their weights are recognised and what they can do. Torch-free."""
