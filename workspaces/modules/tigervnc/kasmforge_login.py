"""Basic authentication for websockify whose password is in a file.

websockify's own plugin wants it as an argument, where every process of the machine can read it.
"""

import base64
import binascii
import hmac

from websockify.auth_plugins import AuthenticationError, BasePlugin

USER = "kasm_user"


class Login(BasePlugin):
    """Lets `kasm_user` in with the password in the file that `source` names."""

    def authenticate(self, headers, target_host, target_port):
        given = headers.get("Authorization", "")
        with open(self.source, encoding="utf-8") as file:
            expected = f"{USER}:{file.readline().rstrip(chr(10))}".encode()
        scheme, _, encoded = given.partition(" ")
        try:
            offered = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            offered = b""
        if scheme.lower() != "basic" or not hmac.compare_digest(offered, expected):
            raise AuthenticationError(
                response_code=401,
                response_headers={"WWW-Authenticate": 'Basic realm="kasmforge", charset="UTF-8"'},
            )
