"""A site's own certificate authority and the certificates it issues, kept in a folder of the controller.

    <folder>/ca.crt, ca.key                      the authority, ECDSA P-256, made once
    <folder>/<host>/<service>.crt, <service>.key  a certificate per host and service, renewed in time

Runs on the controller's Python, where ansible-core brings `cryptography`.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCKS_APART = timedelta(hours=1)
"""A host whose clock is this much behind still takes a certificate made now."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class CertificateTrouble(Exception):
    """What an operator has to mend, in a sentence."""


@dataclass(frozen=True)
class Terms:
    """How long certificates last, and when one is renewed; days."""

    days: int = 397
    renew_days: int = 30
    authority_days: int = 3650


@dataclass(frozen=True)
class Issued:
    """A certificate as it is now, or would be; `why` it is another one than before, empty when it is the same.

    `fingerprint`: SHA-256 in hexadecimal, empty where a check run made none.
    """

    certificate: Path
    key: Path
    fingerprint: str
    ends: datetime
    why: str = ""


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes
    new: bool = False


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder for one alone: Ansible works on several hosts at a time, and there is one authority."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def authority(folder: Path, name: str, terms: Terms, now: datetime, *, write: bool) -> Authority:
    """The one in the folder, or a new one.

    Raises:
        CertificateTrouble: half of it is there, or it has expired.
    """
    certificate_file, key_file = folder / "ca.crt", folder / "ca.key"
    if not certificate_file.exists() and not key_file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _authority_certificate(key, name, now, now + timedelta(days=terms.authority_days))
        if write:
            _write(key_file, _pem(key))
            _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
        return Authority(certificate, key, new=True)
    certificate, key = read_pair(certificate_file, key_file)
    if certificate.not_valid_after_utc <= now:
        raise CertificateTrouble(
            f"the site's authority ended on {certificate.not_valid_after_utc:%Y-%m-%d}: move {certificate_file} and "
            f"{key_file} away for a new one, and give its certificate to all who trusted the old one"
        )
    return Authority(certificate, key)


def leaf(
    folder: Path, service: str, names: Sequence[str], issuer: Authority, terms: Terms, now: datetime, *, write: bool
) -> Issued:
    """The certificate of one service in a host's `folder`, renewed where it no longer serves."""
    certificate_file, key_file = folder / f"{service}.crt", folder / f"{service}.key"
    ends = min(now + timedelta(days=terms.days), issuer.certificate.not_valid_after_utc)
    try:
        present, _ = read_pair(certificate_file, key_file)
    except CertificateTrouble:
        why = "it is damaged" if certificate_file.exists() else "it is new"
    else:
        why = _outdated(present, names, issuer, now + timedelta(days=terms.renew_days), ends)
        if not why:
            return Issued(certificate_file, key_file, fingerprint(present), present.not_valid_after_utc)
    if not write:
        return Issued(certificate_file, key_file, "", ends, why)
    key = ec.generate_private_key(ec.SECP256R1())
    made = _leaf_certificate(key, names, issuer, now, ends)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(key_file, _pem(key))
    _write(certificate_file, made.public_bytes(serialization.Encoding.PEM))
    return Issued(certificate_file, key_file, fingerprint(made), ends, why)


def own(certificate_file: Path, key_file: Path, now: datetime) -> Issued:
    """The site's own files, which must belong together and be in force.

    Raises:
        CertificateTrouble: they do not.
    """
    certificate, _ = read_pair(certificate_file, key_file)
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        raise CertificateTrouble(
            f"{certificate_file} is in force from {certificate.not_valid_before_utc:%Y-%m-%d} "
            f"to {certificate.not_valid_after_utc:%Y-%m-%d} only"
        )
    return Issued(certificate_file, key_file, fingerprint(certificate), certificate.not_valid_after_utc)


def read_pair(certificate_file: Path, key_file: Path) -> tuple[x509.Certificate, CertificateIssuerPrivateKeyTypes]:
    """A certificate (the first of its file) and its private key.

    Raises:
        CertificateTrouble: one is missing, no PEM, protected by a password, or they do not belong together.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateTrouble(f"{certificate_file} is no certificate in PEM form: {error}") from error
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        # Not `from`: what a parser says about a key might quote it.
        reason = (
            "it cannot be read" if isinstance(error, OSError) else "a private key in PEM form, without a password"
        )
        raise CertificateTrouble(f"{key_file}: {reason} is needed for {certificate_file}") from None
    if key.public_key() != certificate.public_key():
        raise CertificateTrouble(f"{key_file} is not the key of {certificate_file}")
    return certificate, key  # type: ignore[return-value]  # kinds that cannot sign have no certificates


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def described(issued: Mapping[str, Issued]) -> str:
    """For a diff: what there is, by service; nothing of a key."""
    return "".join(f"{service}: until {one.ends:%Y-%m-%d}\n" for service, one in sorted(issued.items()))


def safe(word: str, what: str) -> str:
    """`word` as the name of a file; CertificateTrouble for one that would lead elsewhere."""
    if not _SAFE.fullmatch(word):
        raise CertificateTrouble(f"{word!r} cannot be the name of a {what}: letters, digits, `.`, `-` and `_`")
    return word


def _outdated(
    present: x509.Certificate, names: Sequence[str], issuer: Authority, renew: datetime, ends: datetime
) -> str:
    """Why a certificate has to be made anew; empty when it has not."""
    try:
        present.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, ValueError, TypeError):
        return "another authority issued it"
    alternatives = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if set(alternatives) != set(_alternatives(names)):
        return "the host has other names"
    # Near the authority's own end a new one would last no longer.
    if present.not_valid_after_utc <= min(renew, ends - timedelta(days=1)):
        return f"it ends on {present.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    """Names and addresses, each once, in order."""
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name.encode("idna").decode() if not name.isascii() else name))
    return found


def _authority_certificate(
    key: ec.EllipticCurvePrivateKey, name: str, now: datetime, ends: datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = _builder(subject, subject, key, now, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def _leaf_certificate(
    key: ec.EllipticCurvePrivateKey, names: Sequence[str], issuer: Authority, now: datetime, ends: datetime
) -> x509.Certificate:
    # A common name has 64 characters at most; who checks looks at the alternative names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    kinds = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # Orthanc is both to its DICOM peers
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.certificate.public_key())  # type: ignore[arg-type]
    builder = _builder(subject, issuer.certificate.subject, key, now, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(kinds), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
    builder = builder.add_extension(issuer_key, critical=False)
    return builder.sign(issuer.key, hashes.SHA256())  # type: ignore[arg-type]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCKS_APART).not_valid_after(ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(**used: bool) -> x509.KeyUsage:
    """RFC 5280 4.2.1.3: everything not named is forbidden."""
    usages = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    usages += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{usage: used.get(usage, False) for usage in usages})


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """The whole file or none, for its owner alone."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
