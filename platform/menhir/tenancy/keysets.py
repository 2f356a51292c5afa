"""Public keys that sign tokens: read from PEM or from a JWKS document (RFC 7517), found by `kid` and algorithm."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from menhir.errors import Invalid

LEAST_RSA_BITS = 2048
MOST_KEYS = 100
CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, and what its document says of it."""

    kid: str | None
    algorithm: str | None
    public: Any

    def fits(self, algorithm: str) -> bool:
        """Whether a token of this algorithm can be signed with it."""
        if self.algorithm not in {None, algorithm}:
            return False
        if algorithm.startswith(("RS", "PS")):
            return isinstance(self.public, RSAPublicKey) and self.public.key_size >= LEAST_RSA_BITS
        if algorithm.startswith("ES"):
            return isinstance(self.public, EllipticCurvePublicKey) and self.public.curve.name == CURVES[algorithm]
        return algorithm == "EdDSA" and isinstance(self.public, Ed25519PublicKey)


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer."""

    keys: tuple[Key, ...]

    def find(self, kid: str | None, algorithm: str) -> Any | None:
        """The key that a token names and that fits its algorithm; the only one that fits when either says no name."""
        fitting = [key for key in self.keys if key.fits(algorithm)]
        named = [key for key in fitting if kid is not None and key.kid == kid]
        found = named or [key for key in fitting if kid is None or key.kid is None]
        return found[0].public if len(found) == 1 else None


def parse(text: str) -> KeySet:
    """Read one public key in PEM, or a JWKS document; raises Invalid, in words for whoever pasted it."""
    if text.lstrip().startswith("{"):
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise Invalid("The keys are no JSON.", param="keys") from e
        return of_document(document, refuse_private=True)
    if "PRIVATE KEY" in text:
        raise Invalid("That is a private key. Keep it to yourself, and give the public one.", param="keys")
    try:
        public = load_pem_public_key(text.strip().encode())
    except (ValueError, TypeError, UnicodeEncodeError) as e:
        raise Invalid("Give a public key in PEM (-----BEGIN PUBLIC KEY-----), or a JWKS document.", param="keys") from e
    return _usable([Key(None, None, public)])


def of_document(document: object, *, refuse_private: bool = False) -> KeySet:
    """Read a JWKS document. Keys of kinds that nobody here speaks, and shared secrets, are left out."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise Invalid(f"A JWKS document is an object with `keys`, a list of at most {MOST_KEYS}.", param="keys")
    found = []
    for entry in listed:
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        if "d" in entry:
            if refuse_private:
                raise Invalid("There is a private key in it. Keep it to yourself, and give the public one.", param="keys")
            continue
        try:
            public = jwt.PyJWK(entry).key
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue
        kid, algorithm = entry.get("kid"), entry.get("alg")
        found.append(Key(kid if isinstance(kid, str) else None, algorithm if isinstance(algorithm, str) else None, public))
    return _usable(found)


def _usable(keys: list[Key]) -> KeySet:
    if any(isinstance(key.public, RSAPublicKey) and key.public.key_size < LEAST_RSA_BITS for key in keys):
        raise Invalid(f"An RSA key has at least {LEAST_RSA_BITS} bits.", param="keys")
    usable = tuple(key for key in keys if isinstance(key.public, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey))
    if not usable:
        raise Invalid("There is no public key in it that could sign a token.", param="keys")
    return KeySet(usable)
