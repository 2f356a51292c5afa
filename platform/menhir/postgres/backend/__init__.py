"""Django's PostgreSQL backend with the three differences that tenancy and Citus ask for (DESIGN §9: rules 4 and 6)."""
