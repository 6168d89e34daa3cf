"""What jobs cost on this machine: bytes, seconds, and the plans that make them cost less."""
