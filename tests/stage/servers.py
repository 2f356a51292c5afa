"""Real processes on real sockets, for tests that talk as a client does."""
