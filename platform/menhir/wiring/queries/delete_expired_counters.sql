-- Forget the counters of attempts to sign in whose time is over.
DELETE FROM identity_cache WHERE expires < clock_timestamp()
