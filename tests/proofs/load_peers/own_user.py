"""Ours. KIND: post or get; run by the harness' engine, so with every sample recorded."""

import os

from locust import task

from harness.load.users import SloUser

BODY = {"query": "what does a harness prove", "k": 10, "filter": {"lang": "en", "year": 2026}}
KIND = os.environ["KIND"]


class Caller(SloUser):
    trace = False

    @task
    def call(self) -> None:
        if KIND == "post":
            self.client.post("/post", json=BODY, name="post")
        else:
            self.client.get("/get", name="get")
