"""Plivo's library verifies voice callbacks; it signs with what it verifies with."""

from urllib.parse import parse_qs

from plivo.utils.signature_v3 import construct_post_url, get_signature_v3, validate_v3_signature

provider = "plivo"
sdk = "plivo@4.63.0 (PyPI)"
secret = "fake-plivo-auth-token-1"
wrong_secret = "fake-plivo-auth-token-2"
bodies = "samples"
content_type = "application/x-www-form-urlencoded"
samples = [
    "From=14155550100&To=14155550101&CallUUID=97ceeb52-58b6-11e1&Event=StartApp&Digits=2&Digits=1"
    "&Note=Zo%C3%AB+%E2%9C%93+10.0",
]
laxer = ["junk", "duplicate_header"]


def fields(body):
    return parse_qs(body.decode(), keep_blank_values=True)


def sign(ctx):
    url = ctx["url"] + "?x=1&a=b"
    signed = construct_post_url(url, fields(ctx["body"])).decode()
    signature = get_signature_v3(ctx["secret"].encode(), signed, ctx["id"].encode()).decode()
    return {"url": url, "headers": {"X-Plivo-Signature-V3": signature, "X-Plivo-Signature-V3-Nonce": ctx["id"]}}


def verify(ctx):
    headers = ctx["headers"]
    nonce, signature = headers["x-plivo-signature-v3-nonce"], headers["x-plivo-signature-v3"]
    return validate_v3_signature(ctx["method"], ctx["url"], nonce, ctx["secret"], signature, fields(ctx["body"]))
