#!/usr/bin/env python3
"""Receive tasks from Millrace: HANDLER=http://127.0.0.1:9000/ and a WEBHOOK_SECRET.

    WEBHOOK_SECRET=whsec_... python3 receiver.py [port]

Needs Python 3.9 or later and nothing else. What it does with a message:

    {"do": "later", ...}   503 with Retry-After: 1 at the first attempt; Millrace
                           retries the task, and the second attempt succeeds
    {"do": "refuse", ...}  422: no retry can help, the task fails at once
    anything else          200; the message in capitals is the task's result
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 5 * 60  # seconds that a request may be old, or ahead of this clock
MAX_BODY = 16 * 1024 * 1024


def keys():
    """The keys of all secrets in WEBHOOK_SECRET: two of them during a rotation."""
    secrets = os.environ.get("WEBHOOK_SECRET", "").replace(",", " ").split()
    if not secrets:
        sys.exit("receiver: set WEBHOOK_SECRET to the secret that Millrace signs with")
    return [base64.b64decode(s.removeprefix("whsec_"), validate=True) for s in secrets]


def verified(headers, body):
    """Say whether the request comes from whoever has the secret, and is fresh.

    https://www.standardwebhooks.com: the signature is over id, time and body.
    """
    id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isascii() or not sent.isdigit() or abs(time.time() - int(sent)) > TOLERANCE:
        return False
    signed = f"{id}.{sent}.".encode() + body
    good = False
    for key in KEYS:
        want = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for given in headers.get("webhook-signature", "").split():
            good |= hmac.compare_digest(given.encode(), want.encode())
    return good


def work(message, attempt):
    """Do the work of a task: return status, headers and result of the answer.

    A task may come more than once. Its id, and here its attempt, tell.
    """
    try:
        do = json.loads(message).get("do")
    except (ValueError, AttributeError):  # no JSON, or no object
        do = None
    if do == "later" and attempt == 1:
        return 503, {"Retry-After": "1"}, "come back later\n"
    if do == "refuse":
        return 422, {}, "this is not for me\n"
    return 200, {}, message.upper()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open
    timeout = 90  # seconds, for a connection that says nothing

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True  # the body was not read
            return self.answer(413, {}, "no such bodies\n")
        body = self.rfile.read(int(length))
        if not verified(self.headers, body):
            return self.answer(401, {}, "the signature is wrong, or the request is old\n")
        attempt = int(self.headers.get("Millrace-Attempt", "1"))
        self.answer(*work(body.decode(), attempt))

    def answer(self, status, headers, text):
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a worker may open a hundred connections at once


if __name__ == "__main__":
    KEYS = keys()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    print(f"receiver: http://127.0.0.1:{port}/", flush=True)
    try:
        Server(("127.0.0.1", port), Receiver).serve_forever()
    except KeyboardInterrupt:
        pass
