"""Locust's own quickest user. KIND: post or get; run by plain Locust."""

import os

from locust import FastHttpUser, constant, task

BODY = {"query": "what does a harness prove", "k": 10, "filter": {"lang": "en", "year": 2026}}
KIND = os.environ["KIND"]


class Caller(FastHttpUser):
    wait_time = constant(0)

    @task
    def call(self) -> None:
        if KIND == "post":
            self.client.post("/post", json=BODY, name="post")
        else:
            self.client.get("/get", name="get")
