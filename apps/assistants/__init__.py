"""Assistants: a released prompt, a route and some collections, composed into something that answers.

Nouns: an `Assistant` is what callers name as `assistant:<slug>`; an `AssistantCollection` is one of the collections it
looks into. The room also keeps the front door of the data plane (`front`): whoever speaks OpenAI's wire to `/v1` is
admitted, what he named is resolved, and what the collections know is written into the conversation, before the gateway
takes the call.

What always holds: nothing of another tenant is ever named in an answer, an error has OpenAI's shape, and passages have
their numbers before a model sees them, so that a citation always means one of them.
"""
