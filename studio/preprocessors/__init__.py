"""Picture → control map: edges, depth, people and more, a file each. Torch-free to import."""
