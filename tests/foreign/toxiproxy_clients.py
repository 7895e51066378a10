"""Drives a Toxiproxy server by toxiproxy-python, a client that is not ours, as its users do.

usage: toxiproxy_clients.py HOST PORT

Prints a line a thing that was done and exits 0, or raises.
"""

import socket
import socketserver
import sys
import threading
import time

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


def connected(proxy):
    host, port = proxy.listen.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def through(connection, text=b"hello"):
    """What comes back, up to the length of what is sent."""
    connection.sendall(text)
    got = b""
    while len(got) < len(text):
        part = connection.recv(4096)
        if not part:
            break
        got += part
    return got


def refused(error, call, **arguments):
    try:
        call(**arguments)
    except error:
        return
    raise AssertionError(f"{call} was not refused with {error}")


def main(host, port):
    with Server(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        drive(host, int(port), "127.0.0.1:%d" % server.server_address[1])
        server.shutdown()


def drive(host, port, upstream):
    toxiproxy = Toxiproxy()
    toxiproxy.update_api_consumer(host, port)
    assert toxiproxy.running()
    assert b'"version": "2.' in toxiproxy.version(), toxiproxy.version()
    print("version")

    proxy = toxiproxy.create(name="python", upstream=upstream)
    refused(ProxyExists, toxiproxy.create, name="python", upstream=upstream)
    assert toxiproxy.get_proxy("python").listen == proxy.listen
    assert toxiproxy.get_proxy("nobody") is None
    with connected(proxy) as connection:
        assert through(connection) == b"hello"
    print("create")

    with connected(proxy) as connection:
        proxy.add_toxic(type="latency", name="slow", attributes={"latency": 60, "jitter": 0})
        assert proxy.get_toxic("slow").attributes == {"latency": 60, "jitter": 0}
        assert proxy.get_toxic("slow").stream == "downstream"
        assert proxy.get_toxic("slow").toxicity == 1
        began = time.monotonic()
        assert through(connection) == b"hello"
        assert time.monotonic() - began >= 0.06
        refused(ProxyExists, proxy.add_toxic, type="latency", name="slow")
        refused(InvalidToxic, proxy.add_toxic, type="no such type")
        assert proxy.destroy_toxic("slow")
        refused(NotFound, proxy.destroy_toxic, toxic_name="slow")
    print("latency")

    proxy.add_toxic(type="limit_data", attributes={"bytes": 3})
    with connected(proxy) as connection:
        assert through(connection) == b"hel"
    assert list(proxy.toxics()) == ["limit_data_downstream"]
    assert toxiproxy.reset()
    assert proxy.toxics() == {}
    print("limit_data")

    proxy.add_toxic(type="reset_peer", stream="upstream", attributes={"timeout": 0})
    with connected(proxy) as connection:
        refused(ConnectionResetError, through, connection=connection)
    proxy.destroy_toxic("reset_peer_upstream")
    print("reset_peer")

    for kind, attributes in [
        ("bandwidth", {"rate": 1000}),
        ("slicer", {"average_size": 2, "size_variation": 1, "delay": 10}),
        ("slow_close", {"delay": 10}),
    ]:
        proxy.add_toxic(type=kind, attributes=attributes)
        with connected(proxy) as connection:
            assert through(connection) == b"hello"
        proxy.destroy_toxic(kind + "_downstream")
        print(kind)

    with connected(proxy) as connection:
        proxy.add_toxic(type="timeout", attributes={"timeout": 0})
        connection.sendall(b"hello")
        proxy.destroy_toxic("timeout_downstream")
        assert connection.recv(1) == b""
    print("timeout")

    with proxy.down():
        refused(ConnectionRefusedError, connected, proxy=proxy)
        assert not toxiproxy.get_proxy("python").enabled
    with connected(proxy) as connection:
        assert through(connection) == b"hello"
    print("down")

    more = toxiproxy.populate(
        [
            {"name": "python", "listen": proxy.listen, "upstream": upstream},
            {"name": "more", "listen": "127.0.0.1:0", "upstream": upstream},
        ]
    )
    assert [one.name for one in more] == ["more"]
    toxiproxy.destroy_all()
    assert toxiproxy.proxies() == {}
    print("populate")


main(*sys.argv[1:])
