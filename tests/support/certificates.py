"""A certificate for 127.0.0.1, and an authority that clients in tests trust."""

from __future__ import annotations

import atexit
import base64
import hashlib
import os
import ssl
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme


@cache
def certificate() -> tuple[str, str]:
    """Return the files of a certificate and its key; they are removed when the tests end."""
    folder = tempfile.TemporaryDirectory(prefix="flask_bokeh_tests")
    atexit.register(folder.cleanup)
    cert, key = (os.path.join(folder.name, name) for name in ("cert.pem", "key.pem"))
    issued = _authority().issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(cert)
    return cert, key


@cache
def _authority() -> trustme.CA:
    import trustme

    return trustme.CA()


def key_digest() -> str:
    """Return the digest of the certificate's key, in Chromium's form."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    cert = x509.load_pem_x509_certificate(Path(certificate()[0]).read_bytes())
    key = cert.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@cache
def trusting() -> ssl.SSLContext:
    """Return a client's TLS context that trusts the certificate."""
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context
