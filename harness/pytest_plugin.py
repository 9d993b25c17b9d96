"""The pytest face: validations as tests, and the fixtures."""
