-- the POST of the others, for wrk
wrk.method = "POST"
wrk.body = '{"query":"what does a harness prove","k":10,"filter":{"lang":"en","year":2026}}'
wrk.headers["Content-Type"] = "application/json"
