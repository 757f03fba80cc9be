"""Our signatures are botocore's, byte for byte."""

from __future__ import annotations

import datetime as dt

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from shared.sigv4 import Credentials, signed_headers

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
HOSTS = st.sampled_from(
    ["secretsmanager.eu-central-1.amazonaws.com", "127.0.0.1:5000", "localhost:4566", "vpce-1.example"]
)
HEADER_NAMES = st.sampled_from(["X-Amz-Target", "Content-Type", "x-lower", "X-UPPER", "Accept"])


def by_botocore(
    credentials: Credentials, headers: dict[str, str], body: bytes, *, service: str, region: str
) -> dict[str, str]:
    signer = SigV4Auth(
        BotocoreCredentials(
            credentials.access_key_id, credentials.secret_access_key, credentials.session_token
        ),
        service,
        region,
    )
    url = f"https://{headers['Host']}/"
    request = AWSRequest(method="POST", url=url, headers=dict(headers), data=body)
    signer.add_auth(request)
    return dict(request.headers)


@given(
    key_id=st.text(VISIBLE, min_size=1),
    secret=st.text(min_size=1),
    token=st.none() | st.text(VISIBLE, min_size=1),
    host=HOSTS,
    others=st.dictionaries(HEADER_NAMES, st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))),
    body=st.binary(),
    service=st.sampled_from(["secretsmanager", "sts"]),
    region=st.sampled_from(["eu-central-1", "us-gov-west-1", "cn-north-1"]),
)
def test_a_request_is_signed_as_botocore_signs_it(
    key_id: str,
    secret: str,
    token: str | None,
    host: str,
    others: dict[str, str],
    body: bytes,
    service: str,
    region: str,
) -> None:
    credentials = Credentials(key_id, secret, token)
    headers = {"Host": host, **others}
    theirs = by_botocore(credentials, headers, body, service=service, region=region)
    now = dt.datetime.strptime(theirs["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    ours = signed_headers(credentials, headers, body, service=service, region=region, now=now)
    assert ours == theirs


def test_the_time_is_told_in_utc_whatever_zone_it_was_given_in() -> None:
    east = dt.timezone(dt.timedelta(hours=8))
    moment = dt.datetime(2026, 3, 1, 7, 30, tzinfo=east)
    headers = [
        signed_headers(
            Credentials("k", "s"), {"Host": "h"}, b"", service="secretsmanager", region="r", now=now
        )
        for now in (moment, moment.astimezone(dt.UTC))
    ]
    assert headers[0] == headers[1]
    assert headers[0]["X-Amz-Date"] == "20260228T233000Z"


def test_no_credential_shows_in_its_text() -> None:
    shown = repr(Credentials("AKIA", "hunter2", "hunter2-token"))
    assert "AKIA" in shown
    assert "hunter2" not in shown
