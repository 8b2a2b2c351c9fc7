"""The table of client keys, on both databases."""

import asyncio
import os

import pytest

from streamward.errors import InvalidRequest
from streamward.gateway.key_limits import KeyLimits
from streamward.gateway.storage import Storage
from streamward.gateway.storage.keys import digest_of, looks_issued, new_key

INJECTIONS = ("' OR '1'='1", "x'; DROP TABLE client_keys; --", "\" UNION SELECT * FROM client_keys --", "ci\0", "%", "?")


def made(name: str = "ci", **fields):
    return new_key(name, now=1000.0, random=os.urandom, **fields)


async def test_a_key_comes_back_by_its_digest(storage: Storage):
    key, secret = made(limits=KeyLimits(requests_per_minute=5, budget_usd=1.5), expires_at=2000.0)
    await storage.keys.add(key)

    assert await storage.keys.find(digest_of(secret.encode())) == key
    assert await storage.keys.find(digest_of(b"sw-other")) is None
    assert await storage.keys.all() == [key]


def test_a_secret_has_192_random_bits_and_the_key_does_not_hold_them():
    key, secret = made()
    other, second = made()

    assert (len(secret), secret != second, key.id != other.id) == (3 + 48, True, True)
    assert looks_issued(secret.encode())
    assert secret.startswith(key.prefix)
    assert secret[len(key.prefix) :] not in repr(key)


@pytest.mark.parametrize("text", ["", "sw-", "sw-" + "g" * 48, "sw-" + "a" * 47, "sx-" + "a" * 48, "sw-" + "A" * 48])
def test_other_credentials_do_not_look_like_ours(text: str):
    assert not looks_issued(text.encode())


async def test_the_database_holds_no_secret(storage: Storage):
    key, secret = made()
    await storage.keys.add(key)

    rows = await storage.database.fetch("SELECT * FROM client_keys")

    assert len(rows) == 1
    assert secret[len(key.prefix) :] not in repr(rows)


async def test_a_name_is_free_again_once_its_key_is_revoked(storage: Storage):
    first, second = made()[0], made()[0]
    await storage.keys.add(first)
    with pytest.raises(InvalidRequest, match="in use"):
        await storage.keys.add(second)

    revoked = await storage.keys.revoke("ci", 1500.0)
    await storage.keys.add(second)

    assert revoked is not None
    assert (revoked.id, revoked.state(1600.0), second.state(1600.0)) == (first.id, "revoked", "active")


async def test_revoking_again_or_nothing_says_so(storage: Storage):
    key, _ = made()
    await storage.keys.add(key)

    assert await storage.keys.revoke("nobody", 1.0) is None
    assert (await storage.keys.revoke(key.id, 1.0)) is not None
    assert await storage.keys.revoke(key.id, 2.0) is None


async def test_one_of_many_at_once_gets_the_name(storage: Storage):
    outcomes = await asyncio.gather(*(storage.keys.add(made()[0]) for _ in range(20)), return_exceptions=True)

    assert sum(outcome is None for outcome in outcomes) == 1
    assert len(await storage.keys.all()) == 1


@pytest.mark.parametrize("text", INJECTIONS)
async def test_names_are_data(storage: Storage, text: str):
    await storage.keys.add(made("keep")[0])
    if text.isprintable():
        await storage.keys.add(made(text)[0])
        revoked = await storage.keys.revoke(text, 5.0)
        assert revoked is not None
        assert revoked.name == text
    else:
        with pytest.raises(InvalidRequest):
            made(text)

    assert [key.name for key in await storage.keys.all() if key.revoked_at is None] == ["keep"]
