"""The desktop's web server: noVNC's files, the way to the X server, files up and down, sound.

Everything is behind one password over TLS. `kasm_user` may do everything, `kasm_viewer` may look.
websockify does the WebSockets; it serves each connection in a process of its own, so a long upload
or a listener holds nobody up.

    PUT /Uploads/NAME           a file for ~/Uploads
    GET /Downloads/...          ~/Downloads
    GET /kasmforge/files.json   what is in both
    GET /kasmforge/sound.ogg    what the desktop plays, as it plays it
"""

import base64
import binascii
import hmac
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import urllib.parse
from http import HTTPStatus

from websockify import websocketproxy

from kasmforge_rfb import UnknownMessage, Watcher

USER, VIEWER = "kasm_user", "kasm_viewer"
WEB = "/usr/share/novnc"
STATE = os.path.join(os.environ["XDG_RUNTIME_DIR"], "kasmforge")
HOME = os.environ.get("HOME", "/home/kasm-user")
DOWNLOADS, UPLOADS = os.path.join(HOME, "Downloads"), os.path.join(HOME, "Uploads")
CHUNK = 1 << 20
# What plays on the sound server, as Ogg Opus: small, and known to every browser. Pages of 100 ms
# hold the delay down.
SOUND = (
    "parec --format=s16le --rate=48000 --channels=2 --latency-msec=20 -d @DEFAULT_MONITOR@ | "
    "exec opusenc --quiet --raw --raw-rate 48000 --raw-chan 2 --bitrate 96 --max-delay 100 - -"
)

# noVNC connects again by itself only after it was connected once; whoever comes while the desktop is still
# starting waits, too.
LATER = """<script type="module">
import UI from "./app/ui.js";
UI.inhibitReconnect = false;
</script>
<script type="module" src="kasmforge/panel.js"></script>"""


def enabled(name):
    """Whether one of Kasm's services is on: it is unless its variable says 0."""
    return os.environ.get(f"KASM_SVC_{name}", "1") != "0"


def secret(name):
    with open(os.path.join(STATE, name), encoding="utf-8") as file:
        return file.readline().rstrip("\n")


def free_name(folder, name):
    """A path of this name in a folder that nothing has yet: `a.txt`, then `a (1).txt`."""
    stem, extension = os.path.splitext(name)
    path, number = os.path.join(folder, name), 0
    while os.path.lexists(path):
        number += 1
        path = os.path.join(folder, f"{stem} ({number}){extension}")
    return path


def listed(folder):
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name.lower())
    except OSError:
        return []
    return [
        {"name": entry.name, "size": entry.stat().st_size}
        for entry in entries
        if entry.is_file() and not entry.name.startswith(".")
    ]


class Handler(websocketproxy.ProxyRequestHandler):
    """One request, of somebody who gave the right password."""

    server_version = "kasmforge"
    sys_version = ""
    watcher = None
    viewer = False

    def authorized(self):
        """Whether the request has a right name and password; if not it is answered."""
        given = self.headers.get("Authorization", "")
        scheme, _, encoded = given.partition(" ")
        try:
            offered = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            offered = b""
        right = {
            name: hmac.compare_digest(offered, f"{name}:{secret(file)}".encode())
            for name, file in ((USER, "password"), (VIEWER, "viewer-password"))
        }
        self.viewer = right[VIEWER]
        if scheme.lower() == "basic" and any(right.values()):
            return True
        if given:
            self.log_message("a wrong name or password")
        # A browser asks without a password first, and for each file if the address brought it: the
        # connection is kept for its next try, unless more than a question is to come on it.
        if self.command not in ("GET", "HEAD") or "Upgrade" in self.headers:
            self.close_connection = True
        self.send_response(HTTPStatus.UNAUTHORIZED)
        self.send_header("WWW-Authenticate", 'Basic realm="kasmforge", charset="UTF-8"')
        self.send_header("Content-Length", "0")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        return False

    def handle_upgrade(self):
        if self.authorized():
            super().handle_upgrade()

    # ---- the desktop -------------------------------------------------------------------------

    def new_websocket_client(self):
        if self.viewer:
            self.watcher = Watcher()
        super().new_websocket_client()

    def recv_frames(self):
        received, closed = super().recv_frames()
        if self.watcher is not None:
            try:
                received = [self.watcher.passed(bytes(data)) for data in received]
            except UnknownMessage as error:
                raise self.CClose(1003, f"a viewer's message of type {error}") from error
        return [data for data in received if data], closed

    # ---- files and sound ---------------------------------------------------------------------

    def translate_path(self, path):
        clean = urllib.parse.unquote(path.split("?", 1)[0].split("#", 1)[0])
        # The second is how Kasm's client calls it.
        for prefix in ("/Downloads/Downloads/", "/Downloads/"):
            if clean.startswith(prefix):
                # Not above the folder, whatever is in the path.
                relative = os.path.normpath("/" + clean[len(prefix) :]).lstrip("/")
                return os.path.join(DOWNLOADS, relative)
        return super().translate_path(path)

    def do_GET(self):
        if not self.authorized():
            return None
        path = self.path.split("?", 1)[0]
        if path == "/kasmforge/files.json":
            return self.send_files()
        if path == "/kasmforge/sound.ogg":
            return self.send_sound()
        if path == "/vnc.html":
            return self.send_page()
        if path.startswith("/Downloads") and (self.viewer or not enabled("DOWNLOADS")):
            return self.send_error(HTTPStatus.FORBIDDEN, "Downloads are switched off")
        return super().do_GET()

    def do_HEAD(self):
        if not self.authorized():
            return None
        if self.path.startswith("/Downloads") and (self.viewer or not enabled("DOWNLOADS")):
            return self.send_error(HTTPStatus.FORBIDDEN, "Downloads are switched off")
        return super().do_HEAD()

    def do_PUT(self):
        if not self.authorized():
            return None
        name = urllib.parse.unquote(self.path.removeprefix("/Uploads/"))
        if not self.path.startswith("/Uploads/") or "/" in name or name in ("", ".", ".."):
            return self.send_error(HTTPStatus.NOT_FOUND, "PUT /Uploads/NAME")
        if self.viewer or not enabled("UPLOADS"):
            return self.send_error(HTTPStatus.FORBIDDEN, "Uploads are switched off")
        left = self.headers.get("Content-Length", "")
        if not left.isdigit():
            return self.send_error(HTTPStatus.LENGTH_REQUIRED)
        left = int(left)
        partial = os.path.join(UPLOADS, f".{name[:200]}.{os.getpid()}")
        try:
            os.makedirs(UPLOADS, exist_ok=True)
            with open(partial, "wb") as file:
                while left:
                    data = self.rfile.read(min(left, CHUNK))
                    if not data:
                        raise ConnectionError("the sender went away")
                    file.write(data)
                    left -= len(data)
            target = free_name(UPLOADS, name)
            os.rename(partial, target)
        except OSError as error:
            if os.path.exists(partial):
                os.unlink(partial)
            self.close_connection = True
            return self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, f"{name}: {error.strerror or error}")
        return self.send_json({"name": os.path.basename(target)}, HTTPStatus.CREATED)

    def send_files(self):
        self.send_json(
            {
                "downloads": None if self.viewer or not enabled("DOWNLOADS") else listed(DOWNLOADS),
                "uploads": None if self.viewer or not enabled("UPLOADS") else listed(UPLOADS),
                "sound": enabled("AUDIO") and shutil.which("opusenc") is not None,
            }
        )

    def send_sound(self):
        if not enabled("AUDIO") or not shutil.which("opusenc") or not shutil.which("parec"):
            return self.send_error(HTTPStatus.NOT_FOUND, "This desktop has no sound")
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "audio/ogg")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        with subprocess.Popen(
            ["sh", "-c", SOUND], stdout=subprocess.PIPE, start_new_session=True
        ) as source:
            try:
                while data := os.read(source.stdout.fileno(), 4096):
                    self.wfile.write(data)
                    self.wfile.flush()
            except OSError:
                pass
            finally:
                os.killpg(source.pid, signal.SIGTERM)

    def send_page(self):
        """noVNC's page, with scripts of ours at its ends: its own file stays Debian's."""
        with open(os.path.join(WEB, "vnc.html"), encoding="utf-8") as file:
            page = file.read()
        # In the page itself: it is there for files that do not come.
        with open(os.path.join(WEB, "kasmforge/loading.js"), encoding="utf-8") as file:
            page = page.replace("<head>", f"<head><script>{file.read()}</script>", 1)
        body = page.replace("</body>", f"{LATER}</body>", 1).encode()
        self.send_body(body, "text/html; charset=utf-8", HTTPStatus.OK)

    def send_json(self, value, status=HTTPStatus.OK):
        self.send_body(json.dumps(value).encode(), "application/json", status)

    def send_body(self, body, kind, status):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def main():
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    server = websocketproxy.WebSocketProxy(
        RequestHandlerClass=Handler,
        listen_host="0.0.0.0",
        listen_port=int(os.environ.get("NO_VNC_PORT") or 6901),
        unix_target=os.path.join(STATE, "vnc.sock"),
        web=WEB,
        web_auth=False,
        cert=os.path.join(STATE, "certificate.pem"),
        ssl_only=True,
        heartbeat=30,
    )
    server.start_server()


if __name__ == "__main__":
    main()
