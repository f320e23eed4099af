"""Slack's SDK signs and verifies."""

from slack_sdk.signature import Clock, SignatureVerifier

provider = "slack"
sdk = "slack_sdk@3.47.0 (PyPI)"
secret = "8f742231b10e8888abcd99yyyzzz85a5"
wrong_secret = "8f742231b10e8888abcd99yyyzzz85a6"
bodies = "any"
samples = ["token=abc&command=%2Fweather&text=94070+%E2%9C%93&trigger_id=13345224609.738474920"]
timestamp = {"header": "x-slack-request-timestamp", "tolerance": 300, "signed": True}
laxer = []


def sign(ctx):
    now = str(ctx["now"])
    signature = SignatureVerifier(ctx["secret"]).generate_signature(timestamp=now, body=ctx["body"])
    return {"headers": {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}}


def verify(ctx):
    return SignatureVerifier(ctx["secret"], Clock()).is_valid_request(ctx["body"], ctx["headers"])
