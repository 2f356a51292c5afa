"""OpenAI's Responses API at `/v1/responses`: items in, items and typed events out, and every response kept for a later one to go on from.

    items.py, messages.py, parameters.py    what the client sent -> the body of a chat call
    output.py, response.py                  a chat's answer -> output items, and the response around them
    stream.py                               the same, told as numbered events while it happens
    stored.py                               what is kept is shown again, listed and deleted

What is kept itself is `apps.assistants.responses`.
"""
