-- One chat completion of a usual size; key and model come from the environment.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. (os.getenv("BENCH_KEY") or "none")
wrk.body = '{"model": "' .. (os.getenv("BENCH_MODEL") or "gpt-4o-mini") .. [[", "max_tokens": 256, "temperature": 0.2, "messages": [
  {"role": "system", "content": "You answer questions about the product, briefly and only from its documentation."},
  {"role": "user", "content": "How do I create an API key, who may see it, and what happens to programs that use it when I revoke it?"}]}]]
