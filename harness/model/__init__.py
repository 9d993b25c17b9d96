"""The nouns, pure: no process, socket or client below this line."""
