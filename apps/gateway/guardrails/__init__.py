"""Guardrails: what a tenant's calls may not say, before a model is asked and after it has answered.

Nouns: a `Guardrail` is one rule (a regular expression, personal data, a size, an allow-list of models, a moderation model, a
webhook) and what to do when it finds something; a `GuardrailEvent` says that it did. What always holds:

- a route knows its guardrails: a call of a route that has none pays one look at an attribute;
- a stream is checked before it is sent: text is held back for as long as a match could still begin or grow in it;
- a blocked call is in the ledger with its reason, and a blocked stream ends in an error, never in `[DONE]`;
- every text is looked at, thoughts and the schemas of tools among them (`places`, and `deltas` for streams);
- looking has a `budget`: a text that costs more counts as not looked at, and fails open or closed as its rule says;
- what was found is counted, never kept.
"""
