"""The running system; `harness.stack.runtime` brings it up. Imports nothing here: the supervisor must stay small."""
