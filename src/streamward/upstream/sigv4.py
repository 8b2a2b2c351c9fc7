"""AWS Signature Version 4 for requests to Bedrock, by ``botocore`` (extra ``streamward[bedrock]``).

Long-lived and exported credentials only: from ``AWS_ACCESS_KEY_ID`` and its companions, or from the shared file when
``AWS_PROFILE`` or ``AWS_SHARED_CREDENTIALS_FILE`` says so. Roles that a machine is given over the network would have to
be asked for in the middle of serving; ``aws configure export-credentials --format env`` turns them into variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from streamward.errors import InvalidRequest

REGION_ENV = ("AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION = "us-east-1"
FILE_ENV = ("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE")
ENVIRONMENT = frozenset({*REGION_ENV, *FILE_ENV, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"})
"""All variables that say how to sign."""
SERVICE = "bedrock"


class Signer(Protocol):
    """Makes the header fields that prove who sends a request."""

    secret: bytes
    """What it sends and nobody may see again; empty: nothing of the kind."""

    def fields(self, url: str, body: bytes, /) -> bytes:
        """Header lines, each with its line end, for a POST of *body* to *url* (as sent, escapes included)."""


def region_of(environ: Mapping[str, str]) -> str:
    return next((environ[name] for name in REGION_ENV if environ.get(name)), DEFAULT_REGION)


def signer(environ: Mapping[str, str]) -> SigV4 | None:
    """A signer with the credentials of *environ*; None when it names none.

    Raises:
        InvalidRequest: it names some, but ``botocore`` is not installed or the file has no such profile.
    """
    if not any(environ.get(name) for name in ("AWS_ACCESS_KEY_ID", *FILE_ENV)):
        return None
    try:
        from botocore.credentials import EnvProvider, SharedCredentialProvider
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise InvalidRequest("signing for AWS needs botocore: pip install 'streamward[bedrock]'") from None
    file = environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    profile = environ.get("AWS_PROFILE") or "default"
    try:
        found = EnvProvider(environ=dict(environ)).load() or SharedCredentialProvider(file, profile).load()
    except BotoCoreError as exc:
        raise InvalidRequest(f"AWS credentials: {exc}") from None
    if found is None:
        raise InvalidRequest(f"AWS credentials: {file} has no profile {profile!r} with keys")
    return SigV4(found, region_of(environ))


class SigV4:
    """Signs with fixed credentials. Some 0.2 ms per request."""

    def __init__(self, credentials: Any, region: str) -> None:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        self.auth = SigV4Auth(credentials, SERVICE, region)
        self.request = AWSRequest
        self.secret = (credentials.token or "").encode()

    def fields(self, url: str, body: bytes) -> bytes:
        headers = {"host": urlsplit(url).netloc, "content-type": "application/json"}
        request = self.request("POST", url, data=body, headers=headers)
        self.auth.add_auth(request)
        return b"".join(
            f"{name.lower()}: {value}\r\n".encode() for name, value in request.headers.items() if name.lower() not in headers
        )
