"""SMTP server for tests: takes mail after STARTTLS and a login, and prints each mail as a line of JSON.

usage: server.py CERT KEY [--smtps]

Prints `{"port": N}` first. Accepts the user `gate` with the password `pAsSwOrD-of-the-mail`. Mail to `full@` is rejected
for a while (452), mail to `gone@` for good (550).
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Mailbox:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("full@"):
            return "452 4.2.2 mailbox full"
        if address.startswith("gone@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "user": session.auth_data.decode() if session.auth_data else None,
            "host": session.host_name,
            "text": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    is_login = isinstance(data, LoginPassword)
    if is_login and data.login == b"gate" and data.password == b"pAsSwOrD-of-the-mail":
        return AuthResult(success=True, auth_data=data.login)
    return AuthResult(success=False, handled=False)


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    is_smtps = "--smtps" in sys.argv
    settings = {"hostname": "127.0.0.1", "authenticator": authenticate, "auth_required": True}
    if is_smtps:
        # The connection is encrypted before SMTP begins, which the protocol does not know.
        settings["auth_require_tls"] = False
    else:
        settings |= {"tls_context": tls, "require_starttls": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Mailbox(), **settings), "127.0.0.1", 0, ssl=tls if is_smtps else None
    )
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)
    # Ends with the test, which holds the other end.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main())
