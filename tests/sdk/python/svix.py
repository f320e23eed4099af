"""The Python library of svix signs and verifies."""

from datetime import UTC, datetime

from svix.webhooks import Webhook

provider = "svix"
sdk = "svix@2.9.1 (PyPI)"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
wrong_secret = "whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
bodies = "any"
timestamp = {"header": "svix-timestamp", "tolerance": 300, "signed": True}
# base64.b64decode ignores characters outside its alphabet.
laxer = ["malformed", "junk"]


def sign(ctx):
    sent = datetime.fromtimestamp(ctx["now"], UTC)
    signature = Webhook(ctx["secret"]).sign(ctx["id"], sent, ctx["body"].decode())
    return {"headers": {"svix-id": ctx["id"], "svix-timestamp": str(ctx["now"]), "svix-signature": signature}}


def verify(ctx):
    Webhook(ctx["secret"]).verify(ctx["body"], ctx["headers"])
    return True
