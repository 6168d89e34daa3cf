"""`python -m studio.engine`: an engine process that speaks frames over stdin and stdout."""

from studio.engine.process import serve

if __name__ == "__main__":
    serve()
