"""OpenAI's older wire, `/v1/completions`: a prompt goes on.

A route whose targets all speak OpenAI's wire gets the request as it is, as an operation of its own. Any other only chats, and so does
one that guardrails watch over: there the prompt becomes a message, and the answer a text again.
"""
