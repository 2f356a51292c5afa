"""Google's Gemini API: `generateContent`, streamed and not, and `batchEmbedContents`."""

from apps.gateway.upstreams.gemini.exchange import Gemini

adapter = Gemini()
