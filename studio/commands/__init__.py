"""What the command line can do, a file each; `studio.cli` reads the flags and calls one."""
