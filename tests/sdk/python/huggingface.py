"""Hugging Face's library compares the secret; nothing is signed."""

import asyncio
from types import SimpleNamespace

from huggingface_hub import _webhooks_server
from starlette.requests import Request
from starlette.responses import JSONResponse

# When its server starts with its user interface, it imports these from fastapi, which takes them from here.
_webhooks_server.Request, _webhooks_server.JSONResponse = Request, JSONResponse

provider = "huggingface"
sdk = "huggingface_hub@2.4.0 (PyPI)"
secret = "fake-huggingface-token-0001"
wrong_secret = "fake-huggingface-token-0002"
bodies = "any"


def sign(ctx):
    return {"headers": {"X-Webhook-Secret": ctx["secret"]}}


def verify(ctx):
    handler = _webhooks_server._wrap_webhook_to_check_secret(lambda: True, ctx["secret"])
    return asyncio.run(handler(SimpleNamespace(headers=ctx["headers"]))) is True
