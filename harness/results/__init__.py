"""The run directory: what a run leaves behind, and the only thing that its verdict is made from."""
