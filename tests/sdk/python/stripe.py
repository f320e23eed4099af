"""Stripe's own library verifies; the signature is made with its own helper."""

import stripe as stripe_sdk

provider = "stripe"
sdk = "stripe@16.1.0 (PyPI)"
secret = "whsec_5f2c1f0e8d7b4a6990aa"
wrong_secret = "whsec_5f2c1f0e8d7b4a6990ab"
bodies = "any"
timestamp = {"header": "stripe-signature", "tolerance": 300, "signed": True}
# Only the age is checked; unknown entries are ignored as long as one signature matches.
laxer = ["future", "duplicate_header", "junk"]


def sign(ctx):
    payload = f"{ctx['now']}.{ctx['body'].decode()}"
    digest = stripe_sdk.WebhookSignature._compute_signature(payload, ctx["secret"])
    return {"headers": {"Stripe-Signature": f"t={ctx['now']},v1={digest}"}}


def verify(ctx):
    header = ctx["headers"]["stripe-signature"]
    return stripe_sdk.WebhookSignature.verify_header(ctx["body"].decode(), header, ctx["secret"], 300)
