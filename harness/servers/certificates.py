"""Certificates of servers of the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.servers.process import LOOPBACK

_PEM: Final = serialization.Encoding.PEM


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as a file holds it."""
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def certificate_pem(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str = "",
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
    *,
    is_authority: bool = False,
) -> bytes:
    """A certificate for this machine, good for two days, as a file holds it.

    Args:
        name: Whose it is.
        key: Their key.
        issuer: Who signs it; by default they themselves.
        issuer_key: The issuer's key.
        is_authority: Whether it may sign others.
    """
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address(LOOPBACK))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .issuer_name(_common_name(issuer or name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(issuer_key or key, hashes.SHA256()).public_bytes(_PEM)


def write_own(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that vouches for itself, and its key, in files.

    Args:
        folder: Where they are written.
    """
    key = new_key()
    certificate, key_file = folder / "certificate.pem", folder / "certificate-key.pem"
    certificate.write_bytes(certificate_pem("localhost", key))
    key_file.touch(mode=0o600)
    key_file.write_bytes(key_pem(key))
    return certificate, key_file


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
