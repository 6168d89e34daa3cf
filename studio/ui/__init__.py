"""The page in the browser: the only room with gradio."""
