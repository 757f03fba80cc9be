"""A small function to upload, and how it is published behind a URL as a deployer would."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from devstack.clouds.aws.emulated import Connection, Emulated

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
LAYER = "arn:aws:lambda:eu-central-1:753240598075:layer:LambdaAdapterLayerX86:27"
VARIABLES = {
    "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap",
    "AWS_LWA_PORT": "8080",
    "AWS_LWA_INVOKE_MODE": "buffered",
    "AWS_LWA_READINESS_CHECK_PATH": "/robots.txt",
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
RUN_SH = "#!/bin/sh\nset -eu\nexec python3 server.py\n"
SERVER = """
import json, os, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

go = threading.Event()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, document):
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.end_headers()
        self.wfile.write(content)

    def chunk(self, text):
        self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(text), text.encode()))
        self.wfile.flush()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/env":
            self.answer(200, {"variables": dict(os.environ), "cwd": os.getcwd(), "path": sys.path, "pid": os.getpid()})
        elif path == "/go":
            go.set()
            self.answer(200, {})
        elif path in ("/stream", "/cut"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.chunk("one")
            if path == "/cut":
                os._exit(1)
            go.wait()
            self.chunk("two")
            self.chunk("")
        elif path == "/hang":
            threading.Event().wait()
        elif path == "/crash":
            os._exit(1)
        elif path == "/large":
            self.answer(200, "x" * 7_000_000)
        else:
            self.answer(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(201, {"path": self.path, "headers": dict(self.headers), "body": body, "told": TOLD})

TOLD = os.environ.get("TOLD")
ThreadingHTTPServer(("127.0.0.1", int(os.environ["AWS_LWA_PORT"])), Handler).serve_forever()
"""


def package(*, run_sh: str = RUN_SH, mode: int = 0o755) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text, permissions in (("run.sh", run_sh, mode), ("server.py", SERVER, 0o644)):
            member = zipfile.ZipInfo(name)
            member.create_system = 3
            member.external_attr = (0o100000 | permissions) << 16
            archive.writestr(member, text)
    return buffer.getvalue()


@dataclass
class Function:
    """A function behind its URL."""

    aws: Connection
    client: Any
    name: str
    url: str
    http: httpx.Client

    def settle(self) -> None:
        self.client.get_waiter("function_active_v2").wait(FunctionName=self.name)
        self.client.get_waiter("function_updated_v2").wait(FunctionName=self.name)

    def publish(self, **changes: Any) -> str:
        """Change the configuration and publish; return the version."""
        self.settle()
        self.client.update_function_configuration(FunctionName=self.name, **changes)
        self.settle()
        return str(self.client.publish_version(FunctionName=self.name)["Version"])

    def lead_to(self, version: str, **weights: float) -> None:
        extra = {name.removeprefix("v"): share for name, share in weights.items()}
        self.client.update_alias(
            FunctionName=self.name,
            Name="live",
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": extra},
        )

    def get(self, path: str) -> httpx.Response:
        return self.http.get(f"{self.url}{path}")


def deploy(
    emulated: Emulated,
    http: httpx.Client,
    name: str,
    *,
    variables: dict[str, str] | None = None,
    mode: str = "BUFFERED",
    code: bytes | None = None,
    layers: tuple[str, ...] = (LAYER,),
    timeout_seconds: int = 60,
) -> Function:
    """Publish a function behind an alias with a public URL."""
    aws = emulated.connect()
    iam: Any = aws.session.client("iam")
    client: Any = aws.session.client("lambda")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    wanted = {
        "FunctionName": name,
        "Role": role,
        "Runtime": RUNTIME,
        "Handler": "run.sh",
        "Timeout": timeout_seconds,
        "Layers": list(layers),
        "Code": {"ZipFile": code or package()},
        "Environment": {"Variables": {**VARIABLES, **(variables or {})}},
    }
    until_accepted(lambda: client.create_function(**wanted))
    function = Function(aws, client, name, "", http)
    function.settle()
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    where = {"FunctionName": name, "Qualifier": "live"}
    function.url = client.create_function_url_config(**where, AuthType="NONE", InvokeMode=mode)["FunctionUrl"]
    function.url = function.url.rstrip("/")
    public = {**where, "Principal": "*"}
    client.add_permission(
        **public, StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE"
    )
    client.add_permission(
        **public, StatementId="invoke", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True
    )
    return function


def until_accepted(call: Callable[[], Any]) -> Any:
    """Try again while the role cannot be assumed yet: each attempt brings that nearer."""
    for _ in range(20):
        try:
            return call()
        except Exception as error:
            if "cannot be assumed" not in str(error):
                raise
    raise AssertionError("the role never became assumable")
