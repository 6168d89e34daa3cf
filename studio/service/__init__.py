"""Studio, the one door to everything, and what it opens onto."""
