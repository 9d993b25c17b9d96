"""Tests of the Docker runtime. They run inside an engine of their own (make test-docker), never on the machine's."""
