"""The Python library of standard webhooks signs and verifies."""

from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook

provider = "standard_webhooks"
sdk = "standardwebhooks@1.1.0 (PyPI)"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
wrong_secret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
bodies = "any"
timestamp = {"header": "webhook-timestamp", "tolerance": 300, "signed": True}
# base64.b64decode ignores characters outside its alphabet.
laxer = ["malformed", "junk"]


def sign(ctx):
    sent = datetime.fromtimestamp(ctx["now"], UTC)
    signature = Webhook(ctx["secret"]).sign(ctx["id"], sent, ctx["body"].decode())
    return {"headers": {"webhook-id": ctx["id"], "webhook-timestamp": str(ctx["now"]), "webhook-signature": signature}}


def verify(ctx):
    Webhook(ctx["secret"]).verify(ctx["body"], ctx["headers"])
    return True
