"""What can be asked under /api, a file each."""
