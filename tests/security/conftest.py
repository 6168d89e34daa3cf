from tests.api.fixtures import alone, app, locked, public

__all__ = ["alone", "app", "locked", "public"]
