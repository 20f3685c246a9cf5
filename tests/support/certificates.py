"""Certificates made for tests, by openssl."""

import subprocess
from pathlib import Path

from tests.support.programs import needs


def self_signed(folder: Path, *names: str) -> Path:
    """A self-signed certificate for these host names, with its key in the same file."""
    pem, public = folder / f"{names[0]}.pem", folder / f"{names[0]}.crt"
    command = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={names[0]}"
    alternatives = ",".join(f"DNS:{name}" for name in names)
    extension = ["-addext", f"subjectAltName={alternatives}", "-keyout", str(pem), "-out", str(public)]
    subprocess.run([needs("openssl"), *command.split(), *extension], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + public.read_bytes())
    return pem


def authority(folder: Path, *names: str) -> None:
    """A certificate authority, ca.pem, and a certificate for 127.0.0.1 of each name, NAME.pem, with NAME.key."""
    openssl = needs("openssl")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    for name in ("ca", *names):
        more = signed if name != "ca" else []
        files = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([openssl, *new, *more, *files], check=True, capture_output=True, cwd=folder)
