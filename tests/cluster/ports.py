"""Free TCP ports on loopback."""

import socket

_given: set[int] = set()


def free_port() -> int:
    """Returns a port that nothing listens on and that this process did not return before.

    Servers of the rig restart on the same port, so they cannot bind port 0 themselves.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
