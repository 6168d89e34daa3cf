"""The studio over HTTP: the guard in front of everything, the login, and the routes under /api."""
