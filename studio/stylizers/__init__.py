"""Ways to carry the look of one picture over to another, a file each. Torch-free."""
