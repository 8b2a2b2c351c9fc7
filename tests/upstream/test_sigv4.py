"""Signing for AWS: which credentials are found, and that the signature is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest, ModelNotFound
from streamward.upstream import sigv4
from streamward.upstream.routes import Routes, Setting
from streamward.upstream.upstream import HttpUpstream

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"}


def test_no_credentials_no_signer():
    assert sigv4.signer({}) is None
    assert sigv4.signer({"AWS_REGION": "eu-west-1"}) is None


def test_from_the_environment():
    signer = sigv4.signer(KEYS | {"AWS_SESSION_TOKEN": "session-token", "AWS_REGION": "eu-west-1"})
    assert signer is not None
    lines = signer.fields("https://h.example/model/a%3A0/converse", b"{}").decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines if line)

    assert set(fields) == {"authorization", "x-amz-date", "x-amz-security-token"}
    assert "/eu-west-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token" in (
        fields["authorization"]
    )
    assert signer.secret == b"session-token"


def test_from_the_shared_file(tmp_path: Path):
    file = tmp_path / "credentials"
    file.write_text("[team]\naws_access_key_id = FROMFILE\naws_secret_access_key = s\n")
    environ = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "team", "AWS_DEFAULT_REGION": "us-west-2"}
    signer = sigv4.signer(environ)

    assert signer is not None
    assert b"Credential=FROMFILE/" in signer.fields("https://h.example/", b"")
    assert b"/us-west-2/" in signer.fields("https://h.example/", b"")
    with pytest.raises(InvalidRequest, match="no profile 'other'"):
        sigv4.signer(environ | {"AWS_PROFILE": "other"})


def test_half_of_the_keys():
    with pytest.raises(InvalidRequest, match="AWS credentials"):
        sigv4.signer({"AWS_ACCESS_KEY_ID": "a"})


def test_without_botocore(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "botocore.credentials", None)
    with pytest.raises(InvalidRequest, match=r"pip install 'streamward\[bedrock\]'"):
        sigv4.signer(KEYS)


@pytest.mark.parametrize(
    ("environ", "host", "signed"),
    [
        ({"AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key"} | KEYS, "bedrock-runtime.us-east-1.amazonaws.com", False),
        (KEYS | {"AWS_REGION": "eu-west-1"}, "bedrock-runtime.eu-west-1.amazonaws.com", True),
        (KEYS | {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://vpce.example"}, "vpce.example", True),
    ],
)  # fmt: skip
async def test_the_row(environ: dict[str, str], host: str, signed: bool):
    upstream = Routes(Pool(), environ=environ).targets("bedrock/amazon.nova-pro-v1:0")[0].upstream

    assert isinstance(upstream, HttpUpstream)
    assert (upstream.endpoint.host, upstream.signer is not None) == (host, signed)
    assert (b"bedrock-api-key" in upstream.fields) == (not signed)


async def test_without_anything_the_variable_is_named(caplog: pytest.LogCaptureFixture):
    with pytest.raises(ModelNotFound, match="AWS_BEARER_TOKEN_BEDROCK"):
        Routes(Pool(), environ={}).targets("bedrock/x")
    with pytest.raises(ModelNotFound):
        Routes(Pool(), environ={"AWS_ACCESS_KEY_ID": "a"}).targets("bedrock/x")
    assert "provider bedrock is left out: AWS credentials" in caplog.text


async def test_any_provider_may_be_signed_for():
    setting = Setting(base_url="https://proxy.example/bedrock", dialect="converse", auth="aws")
    upstream = Routes(Pool(), {"mine": setting}, environ=KEYS).targets("mine/x")[0].upstream

    assert isinstance(upstream, HttpUpstream)
    assert upstream.signer is not None


def test_botocore_is_loaded_only_when_needed():
    code = "import sys, streamward.upstream.routes as r; r.Routes(None, environ={}); print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
