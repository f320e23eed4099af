"""Castle's library signs and verifies."""

from types import SimpleNamespace

from castle.webhooks.verify import WebhooksVerify

provider = "castle"
sdk = "castle@7.3.0 (PyPI)"
secret = "fake-castle-secret-0001"
wrong_secret = "fake-castle-secret-0002"
bodies = "any"


class Headers:
    """As a web framework has them: without regard to case."""

    def __init__(self, headers):
        self.headers = headers

    def get(self, name):
        return self.headers.get(name.lower())


def sign(ctx):
    webhook = SimpleNamespace(data=ctx["body"])
    return {"headers": {"X-Castle-Signature": WebhooksVerify._compute_signature(webhook, ctx["secret"])}}


def verify(ctx):
    webhook = SimpleNamespace(data=ctx["body"], headers=Headers(ctx["headers"]))
    WebhooksVerify.call(webhook, SimpleNamespace(api_secret=ctx["secret"]))
    return True
