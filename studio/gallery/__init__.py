"""Pictures that are kept: files first, rows beside them, and the uploads they were made from."""
