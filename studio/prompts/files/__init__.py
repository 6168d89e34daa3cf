"""What picture files say about how they were made, a module for each program that writes it."""
