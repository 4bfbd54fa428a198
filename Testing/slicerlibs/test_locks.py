"""Nobody but this computer's browser with the first address gets anything from the browser server."""

import asyncio
import http.client
from types import SimpleNamespace

import aiohttp
import msgpack
import pytest
from aiohttp.test_utils import make_mocked_request
from browser import RunningApp

from cnsifusion.web.locks import Locks

pytest.importorskip("trame_slicer", reason="needs the extra 'web'")


@pytest.fixture(scope="module")
def app():
    app = RunningApp()
    yield app
    app.stop()


def ask(app, path="/", host=None, cookie=None, origin=None, socket="", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{app.port}")
    if cookie:
        connection.putheader("Cookie", cookie)
    if origin:
        connection.putheader("Origin", origin)
    if socket:
        connection.putheader("Connection", "Upgrade")
        connection.putheader("Upgrade", socket)
        connection.putheader("Sec-WebSocket-Version", "13")
        connection.putheader("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    connection.endheaders()
    response = connection.getresponse()
    headers = dict(response.getheaders())
    connection.close()
    return response.status, headers


@pytest.fixture(scope="module")
def cookie(app):
    status, headers = ask(app, f"/?key={app.key}")
    assert status == 302
    assert "HttpOnly" in headers["Set-Cookie"]
    assert "SameSite=Strict" in headers["Set-Cookie"]
    assert headers["Set-Cookie"].startswith(f"cnsifusion-{app.port}="), "a browser sends it to all ports of a host"
    return headers["Set-Cookie"].split(";")[0]


def own(app):
    return f"http://127.0.0.1:{app.port}"


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/report", "/vue.global.js", "/ws", "/?key=wrong", "/?key=", "/?key=%C3%BC"]
)
def test_nothing_without_the_cookie(app, path):
    assert ask(app, path)[0] == 403


def test_no_other_interface_is_served():
    with pytest.raises(RuntimeError, match=r"alone, not 0\.0\.0\.0"):
        Locks().install(SimpleNamespace(host="0.0.0.0"))


def test_the_key_opens_the_page_alone(app):
    assert [ask(app, f"{path}?key={app.key}")[0] for path in ("/index.html", "/report", "/ws")] == [302, 403, 403]


def test_the_address_that_a_browser_is_started_with_opens_once():
    """All users see it in the list of processes for as long as the browser runs."""
    locks = Locks()
    locks.opened(80)
    address = locks.ticket()
    assert "secret" not in address and address != locks.opened(80)
    asked = [locks._answer(make_mocked_request("GET", address[19:], {"Host": "127.0.0.1:80"})) for _ in range(2)]
    assert [answer.status for answer in asked] == [302, 403]
    assert asked[0].cookies


def test_the_first_address_opens_the_page(app, cookie):
    status, headers = ask(app, "/", cookie=cookie)
    assert (status, headers["Location"].split("=")[0]) == (302, "/index.html?secret")
    status, headers = ask(app, headers["Location"], cookie=cookie)
    assert status == 200
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


def test_a_wrong_cookie_is_refused(app, cookie):
    assert len(app.key) >= 32
    for wrong in (cookie[:-2] + "zz", cookie[:-2], cookie + "x", cookie[:-2] + "\xff", cookie.replace("=", "1=")):
        assert ask(app, "/", cookie=wrong)[0] == 403, wrong


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"])
def test_a_foreign_host_name_is_refused(app, cookie, host):
    """DNS rebinding: the name is the attacker's, the address is ours."""
    assert ask(app, "/index.html?secret=x", host=host.format(port=app.port), cookie=cookie)[0] == 403


def test_this_computers_other_name_is_its_own_origin(app, cookie):
    name = f"localhost:{app.port}"
    assert ask(app, "/index.html?secret=x", host=name, cookie=cookie)[0] == 200
    assert ask(app, "/ws", host=name, cookie=cookie, origin=f"http://{name}", socket="websocket")[0] == 101
    assert ask(app, "/ws", host=name, cookie=cookie, origin=own(app), socket="websocket")[0] == 403


def test_a_foreign_origin_is_refused(app, cookie):
    assert ask(app, "/index.html?secret=x", cookie=cookie, origin="http://evil.example")[0] == 403
    assert ask(app, "/index.html?secret=x", cookie=cookie, origin="null")[0] == 403


def test_websocket(app, cookie):
    assert ask(app, "/ws", cookie=cookie, origin=own(app), socket="websocket")[0] == 101
    assert ask(app, "/ws", origin=own(app), socket="websocket")[0] == 403
    for word in ("websocket", "WebSocket"):
        assert ask(app, "/ws", cookie=cookie, socket=word)[0] == 403, "a browser always sends its Origin"
    assert ask(app, "/ws", cookie=cookie, origin="http://evil.example", socket="websocket")[0] == 403
    assert ask(app, "/ws", cookie=cookie, origin="https://127.0.0.1", socket="websocket")[0] == 403


def test_the_websocket_takes_its_own_key_and_no_message_without_end(app, cookie):
    """trame's default key is public; wslink would take 4 GB of memory for a header that announces them."""

    def message(secret):
        content = msgpack.packb({"id": "system:c0:0", "method": "wslink.hello", "args": [{"secret": secret}]})
        return (7).to_bytes(4, "little") + bytes(4) + len(content).to_bytes(4, "little") + content

    async def talk():
        words = {"Origin": own(app), "Cookie": cookie}
        async with aiohttp.ClientSession(headers=words) as session, session.ws_connect(f"{own(app)}/ws") as socket:
            answers = []
            for secret in ("wslink-secret", app.key):
                await socket.send_bytes(message(secret))
                answers.append((await socket.receive(10)).data)
            await socket.send_bytes((8).to_bytes(4, "little") + bytes(4) + (3 << 29).to_bytes(4, "little") + b"x")
            # The page's state may be on its way already.
            while (after := (await socket.receive(10)).type) is aiohttp.WSMsgType.BINARY:
                pass
            return *answers, after

    refused, taken, after = asyncio.run(talk())
    assert b"Authentication failed" in refused and b"clientID" in taken
    assert after in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


def test_what_was_not_made_yet_is_not_there(app, cookie):
    for path in ("/regions.seg.nrrd", "/report", "/report.pdf", "/dicom.zip"):
        assert ask(app, path, cookie=cookie)[0] == 404


def test_only_this_computer_can_connect(app):
    import socket

    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    others = {address for address in others if not address.startswith("127.")}
    if not others:
        pytest.skip("this computer has no other address")
    for address in others:
        with socket.socket() as probe, pytest.raises(OSError):
            probe.settimeout(2)
            probe.connect((address, app.port))


def test_the_key_is_not_in_the_process_list(app):
    from pathlib import Path

    assert app.key not in Path(f"/proc/{app.process.pid}/cmdline").read_text()


def test_a_taken_port_is_one_sentence(app):
    import subprocess
    import sys

    said = subprocess.run(
        [sys.executable, "-m", "cnsifusion.cli", "app", "--no-browser", "--port", str(app.port)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 2
    assert f"port {app.port} cannot be used" in said.stderr
