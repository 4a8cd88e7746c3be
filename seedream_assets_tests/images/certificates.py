"""A certificate authority of one's own, and signing certificates as C2PA wants them; nobody else trusts them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from seedream_assets.config.images import C2paSigning
from seedream_assets.images.c2pa import ContentCredentials


@dataclass(frozen=True, kw_only=True)
class Identity:
    """PEM texts: the chain with the signing certificate first, its private key, and the authority alone."""

    chain: bytes
    private_key: bytes
    authority: bytes


@cache
def make_identity(*, days: int = 30) -> Identity:
    """A new one per number of days; negative days have run out."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("Authority", authority_key.public_key(), authority_key, is_authority=True, days=60)
    signing = _certificate("Data team", key.public_key(), authority_key, is_authority=False, days=days)
    return Identity(
        chain=_pem(signing) + _pem(authority),
        private_key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        authority=_pem(authority),
    )


def make_credentials() -> ContentCredentials:
    identity = make_identity()
    return ContentCredentials(
        certificates=identity.chain,
        private_key=identity.private_key,
        algorithm=C2paSigning(certificate="x", private_key_file="y").algorithm,
        timestamp_url=None,
        software={"name": "seedream-assets", "version": "1.2.3"},
    )


def _certificate(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    authority_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
    days: int,
) -> x509.Certificate:
    end = datetime.now(UTC) + timedelta(days=days)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Authority"))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=90))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **usage
            ),
            critical=True,
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "seedream-assets tests"),
        ]
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
