"""An identity provider on a real socket: keys of its own, a JWKS document, and tokens signed with either."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

MAKERS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class SigningKey:
    """A private key with its name."""

    def __init__(self, kid: str, algorithm: str = "RS256") -> None:
        self.kid, self.algorithm = kid, algorithm
        self.private = MAKERS[algorithm]()

    @property
    def pem(self) -> str:
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return self.private.public_key().public_bytes(*form).decode()

    @property
    def jwk(self) -> dict[str, Any]:
        speaker = jwt.get_algorithm_by_name(self.algorithm)
        return {**speaker.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig", "alg": self.algorithm}

    def token(self, *, head: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token with these claims, that lives for five minutes unless they say otherwise; a claim of None is left out."""
        now = int(time.time())
        said = {"iat": now, "exp": now + 300, "sub": "anna", **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.private, self.algorithm, headers={"kid": self.kid} if head is None else head)


class KeyServer:
    """Serves a JWKS document, counts how often, and fails on demand."""

    def __init__(self) -> None:
        self.keys: list[SigningKey] = []
        self.requests = 0
        self.status = 200
        self.body: bytes | None = None
        self.location: str | None = None
        self.encoding: str | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                body = outer.body if outer.body is not None else json.dumps({"keys": [key.jwk for key in outer.keys]}).encode()
                self.send_response(outer.status)
                if outer.location:
                    self.send_header("location", outer.location)
                if outer.encoding:
                    self.send_header("content-encoding", outer.encoding)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
