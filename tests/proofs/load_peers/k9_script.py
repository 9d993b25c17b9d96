"""For k9-load: a Python function, as its users write them."""

import os

import k9  # type: ignore[import-not-found]

options = {"vus": int(os.environ["USERS"]), "duration": "600s"}
BODY = {"query": "what does a harness prove", "k": 10, "filter": {"lang": "en", "year": 2026}}
KIND, URL = os.environ["KIND"], os.environ["URL"]


async def default() -> None:
    if KIND == "post":
        await k9.http.post(f"{URL}/post", json=BODY)
    else:
        await k9.http.get(f"{URL}/get")
