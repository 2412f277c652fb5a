"""Certificates for a listener that asks for them: its own, a client's, and one of an authority that is not
known; then Python's ssl as a client."""

import json
import os
import ssl
import http.client

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from adt import ok, run_check, scene
from certificates import authority, certificate, pem


def write(path, *parts):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for part in parts:
            file.write(part)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def leaf(name, issuer, issuer_key, usage, names):
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    extensions = [(x509.BasicConstraints(ca=False, path_length=None), True),
                  (x509.ExtendedKeyUsage([usage]), False), (alternatives, False),
                  (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)]
    return certificate(name, key, issuer, issuer_key, extensions), key


def make(folder):
    at = lambda name: os.path.join(folder, name)
    key = ec.generate_private_key(ec.SECP256R1())
    write(at("ca.pem"), pem(authority("peers authority", key)))
    server, server_key = leaf("server", "peers authority", key, ExtendedKeyUsageOID.SERVER_AUTH, ["localhost"])
    write(at("server.pem"), pem(server))
    write(at("server.key"), key_pem(server_key))
    client, client_key = leaf("press-7", "peers authority", key, ExtendedKeyUsageOID.CLIENT_AUTH, ["press-7"])
    write(at("client.pem"), pem(client), key_pem(client_key))
    other_key = ec.generate_private_key(ec.SECP256R1())
    other, other_leaf = leaf("press-7", "peers authority", other_key, ExtendedKeyUsageOID.CLIENT_AUTH, ["press-7"])
    write(at("other.pem"), pem(other), key_pem(other_leaf))


def answer(port, folder, shown):
    context = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
    if shown:
        context.load_cert_chain(os.path.join(folder, shown))
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    event = '{"specversion":"1.0","id":"1","source":"s","type":"t"}'
    connection.request("POST", "/events", event, {"content-type": "application/cloudevents+json"})
    return connection.getresponse().status


def main():
    at = scene()
    if at["step"] == "make":
        make(at["folder"])
        return
    assert answer(at["port"], at["folder"], "client.pem") == 202
    for shown in (None, "other.pem"):
        try:
            status = answer(at["port"], at["folder"], shown)
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            continue
        raise AssertionError(f"{shown} got {status}")
    ok("python ssl")


run_check(main, 60)
