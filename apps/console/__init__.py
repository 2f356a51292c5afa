"""The control plane for a tenant's admins: server-rendered pages over every other room's nouns. It owns no table of its own."""
