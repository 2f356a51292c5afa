"""Any server that speaks OpenAI's wire: OpenAI itself, Azure's `/v1`, vLLM, Ollama, Groq, another gateway."""

from apps.gateway.upstreams.openai.exchange import OpenAI

adapter = OpenAI()
