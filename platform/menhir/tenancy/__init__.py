"""Tenants and who may act in them: two locks and one door (DESIGN §5).

Nouns: Tenant, Membership (a person's role), ApiKey (a program's credential), TokenIssuer (who signs the tokens of a tenant's end users),
and the Principal that each becomes. Always true: a tenant's rows are read through `Noun.objects.within(tenant)` inside
`tenant_transaction(tenant)`; without the latter the database shows none.
"""
