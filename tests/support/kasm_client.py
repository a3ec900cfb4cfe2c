"""The whole use of the public client `kasm` (PyPI): python kasm_client.py ADDRESS USER_ID."""

import asyncio
import os
import sys

from kasm.connections import configure
from kasm.exceptions import RequestError
from kasm.images import Image
from kasm.sessions import Session
from kasm.status import Status
from kasm.users import User

address, user_id = sys.argv[1:]
configure(default={"url": address, "key": os.environ["KEY"], "secret": os.environ["SECRET"]})


def main():
    images = Image.all()
    image = next(one for one in images if one.name == "kasmforge/desktop:latest")
    assert image.friendly_name == "Desktop" and image.memory == 3072 * 1024 * 1024
    assert isinstance(image.run_config, str), "the server keeps texts"
    assert Image.get(image.image_id).name == image.name and image.refresh().cores == 2

    assert user_id in [one.user_id for one in User.all()]
    user = User.create("test@kasm.local", "Passw0rd!", first_name="T")
    assert User.get(username="test@kasm.local").user_id == user.user_id
    user.first_name = "U"
    assert user.attributes.show_tips is True
    user.attributes.theme = "Dark"
    user.save().set_password("Passw1rd!").logout()
    again = user.refresh()
    assert again.first_name == "U" and again.attributes.theme == "Dark"
    group = "11111111-1111-1111-1111-111111111111"
    assert len(user.add_to_group(group).groups) == 2
    assert len(user.remove_from_group(group).groups) == 1

    session = Session.request(user, image, environment={"A": "b"}, kasm_url="https://example.org")
    assert session.status == Status.STARTING
    seen = []
    while session.status != Status.RUNNING:
        session = session.update_status()
        seen.append(str(session.status))
    assert seen == ["starting", "starting", "running"], seen
    assert session.image.image_id == image.image_id
    first = session.url(disable_tips=True)
    assert first.startswith(address) and "token-" in first
    assert session.refresh().url() != first, "each status makes a new link"
    session.execute("true", "/", {"A": "b"}, user="root")
    assert session.keepalive().status == Status.RUNNING
    assert session.join(user).startswith(address)
    listed = Session.all()
    assert [one.session_id for one in listed] == [session.session_id]
    session.destroy()
    try:
        session.update_status()
        raise AssertionError("a session that was destroyed has no status")
    except RequestError as error:
        assert "Invalid kasm_id" in str(error)
    user.delete(force=True)
    assert user.user_id not in [one.user_id for one in User.all()]
    print("sync: all")


async def other():
    image = (await Image.aall())[0]
    assert (await Image.aget(image.image_id)).name == image.name
    assert (await image.arefresh()).name == image.name
    user = await User.acreate("async@kasm.local", "Passw0rd!")
    assert (await User.aget(username="async@kasm.local")).user_id == user.user_id
    user.last_name = "V"
    await user.asave()
    await user.alogout()
    assert (await user.arefresh()).last_name == "V"
    session = await Session.arequest(user, image)
    while session.status != Status.RUNNING:
        session = await session.aupdate_status()
    await session.aexecute("true", "/")
    await session.akeepalive()
    assert (await session.ajoin(user)).startswith(address)
    assert len(await Session.aall()) == 1
    await session.adestroy()
    await user.adelete()
    assert len(await User.aall()) == 1
    print("async: all")


main()
asyncio.run(other())
