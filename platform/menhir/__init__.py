"""The kernel: tenants, money, streams and Postgres. It knows no product feature."""
