"""Tokens that PyJWT signs, at the ingress: which are taken and which are not."""

import base64
import http.server
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from adt import ok, run_check, scene

ISSUER = "https://issuer.example/peers"
AUDIENCE = "api://twinroute"


def key_set(keys):
    algorithms = jwt.algorithms.get_default_algorithms()
    shown = []
    for name, (algorithm, key) in keys.items():
        jwk = algorithms[algorithm].to_jwk(key.public_key(), as_dict=True)
        shown.append({**jwk, "kid": name, "alg": algorithm, "use": "sig"})
    return json.dumps({"keys": shown}).encode()


def serve(document):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/keys"


def await_file(path):
    for _ in range(600):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return file.read().strip()
        time.sleep(0.05)
    raise TimeoutError(f"no {path}")


def post(ingress, token):
    event = b'{"specversion":"1.0","id":"1","source":"s","type":"t"}'
    headers = {"content-type": "application/cloudevents+json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{ingress}/events", event, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def unsigned(claims):
    encode = lambda part: base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
    return f'{encode({"alg": "none", "kid": "rs"})}.{encode(claims)}.'


def main():
    keys = {
        "rs": ("RS256", rsa.generate_private_key(65537, 2048)),
        "ps": ("PS256", rsa.generate_private_key(65537, 2048)),
        "es": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    }
    print(json.dumps({"jwks": serve(key_set(keys)), "issuer": ISSUER, "audience": AUDIENCE}), flush=True)
    ingress = await_file(scene()["ingress"])
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300, "sub": "peer",
            "roles": ["Events.Write"]}

    def signed(name="rs", algorithm=None, key=None, **changes):
        usual, own = keys[name]
        return jwt.encode({**good, **changes}, key or own, algorithm or usual, headers={"kid": name})

    for name in keys:
        status, text = post(ingress, signed(name))
        assert status == 202, (name, status, text)
    assert post(ingress, signed(aud=["https://other", AUDIENCE]))[0] == 202
    ok("RS256, PS256, ES256")
    public = keys["es"][1].public_key().public_numbers()
    cases = {
        "nothing": (None, 401),
        "expired": (signed(iat=now - 900, nbf=now - 900, exp=now - 600), 401),
        "not valid yet": (signed(nbf=now + 600), 401),
        "for another audience": (signed(aud="https://other"), 401),
        "of another issuer": (signed(iss=ISSUER + "/other"), 401),
        "without a signature": (unsigned(good), 401),
        "signed with another key": (signed(key=rsa.generate_private_key(65537, 2048)), 401),
        "signed with a key that is not published": (
            jwt.encode(good, rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": "other"}), 401),
        "of another algorithm than its key's": (signed("rs", "PS256"), 401),
        "signed with the public key as a secret": (
            jwt.encode(good, str(public.x) * 2, "HS256", headers={"kid": "es"}), 401),
        "changed after it was signed": (signed()[:-20] + "A" * 20, 401),
        "without a role": (signed(roles=["Other"]), 403),
    }
    for name, (token, expected) in cases.items():
        status, text = post(ingress, token)
        assert status == expected, (name, status, text)
    ok("refusals")


run_check(main, 60)
