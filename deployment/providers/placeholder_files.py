"""What answers at a function's address before its first release, on every cloud: 503 to everything.

It runs as the bundles do, started by its run.sh: on Lambda below Lambda Web Adapter, on Cloud Run by itself.
"""

from __future__ import annotations

from typing import Final

RUN_SH: Final = "run.sh"
_RUN = """#!/bin/sh
cd "${LAMBDA_TASK_ROOT:-$(dirname "$0")}" && exec python3 placeholder.py
"""
_SERVE = '''"""Answers 503 to everything: nothing has been released here yet."""

import http.server
import os

BODY = b'{"ok": false, "error": "store_unavailable", "message": "nothing has been released here yet"}'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404 if self.path == "/robots.txt" else 503)  # 503 there would mean: not ready
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else BODY)

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


# Cloud Run calls from outside; everywhere else the caller sits on the same machine.
host = os.environ.get("HOST") or ("0.0.0.0" if "K_SERVICE" in os.environ else "127.0.0.1")
port = int(os.environ.get("AWS_LWA_PORT") or os.environ.get("PORT") or "8080")
http.server.ThreadingHTTPServer((host, port), Handler).serve_forever()
'''
FILES: Final = (("placeholder.py", _SERVE, 0o644), (RUN_SH, _RUN, 0o755))
"""Path, text and mode of each."""
