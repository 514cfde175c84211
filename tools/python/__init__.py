"""Python in a sandboxed Jupyter kernel."""
