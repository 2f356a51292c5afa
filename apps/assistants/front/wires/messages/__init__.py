"""Anthropic's wire: `/v1/messages` on any route, and `/v1/messages/count_tokens`.

What chat has no word for travels along where an upstream that knows it will find it: `cache_control` on parts and tools, `thinking` in the
request, `thinking_blocks` (with their signatures) on the assistant's messages.
"""
