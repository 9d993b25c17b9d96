"""The Docker runtime: the same stack, its stores and watchers in containers. See docs/docker.md."""
