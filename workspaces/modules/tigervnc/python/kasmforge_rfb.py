"""What a person who may only look sends to a VNC server, without what would change anything.

RFB 3.8 (RFC 6143) from the client's side, with the extensions noVNC knows. The server asks for no
password (security type None), so the handshake is 12 bytes of version, the security type, and the
shared flag; then messages follow, whose lengths are in the table below.
"""

import struct

# Message types a viewer may send.
SET_PIXEL_FORMAT = 0
SET_ENCODINGS = 2
FRAMEBUFFER_UPDATE_REQUEST = 3
ENABLE_CONTINUOUS_UPDATES = 150
CLIENT_FENCE = 248
PASSED = {
    SET_PIXEL_FORMAT,
    SET_ENCODINGS,
    FRAMEBUFFER_UPDATE_REQUEST,
    ENABLE_CONTINUOUS_UPDATES,
    CLIENT_FENCE,
}

# Types that are taken away: keys, pointer, clipboard, power, size, and QEMU's keys.
KEY_EVENT = 4
POINTER_EVENT = 5
CLIENT_CUT_TEXT = 6
XVP = 250
SET_DESKTOP_SIZE = 251
QEMU = 255

# With this pseudo-encoding a pointer event has another length; a viewer needs none.
EXTENDED_MOUSE_BUTTONS = -316

HANDSHAKE = 12 + 1 + 1


class UnknownMessage(Exception):
    """A message whose length nobody here knows: what follows it could be anything."""


def length(buffer):
    """The length of the message a buffer begins with; 0 if more of it must be seen."""

    def needs(count):
        return len(buffer) >= count

    kind = buffer[0]
    fixed = {
        SET_PIXEL_FORMAT: 20,
        FRAMEBUFFER_UPDATE_REQUEST: 10,
        KEY_EVENT: 8,
        POINTER_EVENT: 6,
        ENABLE_CONTINUOUS_UPDATES: 10,
        XVP: 4,
    }
    if kind in fixed:
        return fixed[kind]
    if kind == SET_ENCODINGS:
        return 4 + 4 * struct.unpack(">H", buffer[2:4])[0] if needs(4) else 0
    if kind == CLIENT_CUT_TEXT:
        # Negative: an extended clipboard message of that many bytes.
        return 8 + abs(struct.unpack(">i", buffer[4:8])[0]) if needs(8) else 0
    if kind == CLIENT_FENCE:
        return 9 + buffer[8] if needs(9) else 0
    if kind == SET_DESKTOP_SIZE:
        return 8 + 16 * buffer[6] if needs(8) else 0
    if kind == QEMU:
        if not needs(2):
            return 0
        if buffer[1] == 0:
            return 12
    raise UnknownMessage(kind)


class Watcher:
    """Takes a client's bytes in pieces, and gives back those that only look."""

    def __init__(self):
        self.handshake = HANDSHAKE
        self.buffer = bytearray()

    def passed(self, data):
        """The bytes to hand on for these, kept back until a message is whole."""
        out = bytearray()
        if self.handshake:
            head = data[: self.handshake]
            self.handshake -= len(head)
            out += head
            data = data[len(head) :]
        self.buffer += data
        while self.buffer:
            size = length(self.buffer)
            if size == 0 or len(self.buffer) < size:
                break
            message = bytes(self.buffer[:size])
            del self.buffer[:size]
            if message[0] in PASSED:
                out += without_extended_buttons(message)
        return bytes(out)


def without_extended_buttons(message):
    """SetEncodings without the encoding that changes the length of other messages."""
    if message[0] != SET_ENCODINGS:
        return message
    count = (len(message) - 4) // 4
    encodings = struct.unpack(f">{count}i", message[4:])
    kept = [one for one in encodings if one != EXTENDED_MOUSE_BUTTONS]
    return struct.pack(f">BxH{len(kept)}i", SET_ENCODINGS, len(kept), *kept)
