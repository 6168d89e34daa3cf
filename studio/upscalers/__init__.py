"""Ways to make a picture larger, a file each."""
