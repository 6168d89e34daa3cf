"""What the page offers, a file each."""
