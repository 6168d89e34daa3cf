"""Prompts as text: weights, chunks, token counts, and the texts that picture files carry. Torch-free."""
