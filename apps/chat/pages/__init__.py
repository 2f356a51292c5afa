"""The chat's pages. Everything here works without a script; scripts make it live."""
