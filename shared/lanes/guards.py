"""What a delivery must pass before any work: its path, its signature, its message."""

from __future__ import annotations

from flask import Request

from shared.bodies import read_body
from shared.config import SigningKeys
from shared.errors import MessageError, MethodNotAllowed, NotFound
from shared.messages import MAX_MESSAGE_BYTES, Probe, TaskMessage, parse_message, parse_probe
from shared.routing import Lane, Template, templates_of
from shared.signature import verify_signature


def check_path(request: Request, lane: Lane) -> Template:
    """Return the template that a request's exact path names.

    The target as it came over the wire decides: frameworks merge slashes and unquote what they route by, and
    a path that is not the signed one byte for byte is not ours.

    Raises:
        NotFound: no path of this lane, or a query string.
        MethodNotAllowed: not a POST.
    """
    target = request.environ.get("RAW_URI") or request.full_path.removesuffix("?")
    for template in templates_of(lane):
        if target == lane.path(template):
            if request.method != "POST":
                raise MethodNotAllowed("POST")
            return template
    raise NotFound("There is no such address.")


def check_delivery(request: Request, *, lane: Lane, route_url: str, keys: SigningKeys) -> TaskMessage | Probe:
    """Check a delivery in the order of design §6 and return its message, or the probe that came instead.

    Raises:
        NotFound, MethodNotAllowed, FileTooLarge: not a path of this lane, or no message of ours.
        SignatureError: not QStash's, or not for this function's own public URL.
        MessageError: signed, but not a message that this lane can ever accept.
    """
    template = check_path(request, lane)
    body = read_body(request, MAX_MESSAGE_BYTES)
    verify_signature(request.headers.get("Upstash-Signature"), body, route_url + lane.path(template), keys)
    return parse_probe(body) or _message_for(lane, template, body)


def _message_for(lane: Lane, template: Template, body: bytes) -> TaskMessage:
    message = parse_message(body)
    if message.queue_id is not lane or message.template_id is not template or message.tier is not lane.tier:
        raise MessageError("the message is for another lane")
    return message
