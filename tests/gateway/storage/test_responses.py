"""The table of stored responses, on both databases."""

from __future__ import annotations

from streamward.gateway.storage import Storage, StoredResponse

FAR = 1e12


def stored(name: str, *, previous: str | None = None, tenant: str = "t1", **fields) -> StoredResponse:
    said = {"id": f"msg_{name}", "type": "message", "role": "assistant", "content": []}
    return StoredResponse(
        **{
            "id": f"resp_{name}", "tenant": tenant,
            "response": {"id": f"resp_{name}", "status": "completed", "output": [said]},
            "input": [{"id": f"in_{name}", "type": "message", "role": "user", "content": name}], "previous_id": previous,
            "created_at": 1.0, "expires_at": FAR, **fields,
        }
    )  # fmt: skip


async def keep(storage: Storage, *responses: StoredResponse) -> None:
    for response in responses:
        await storage.database.run(*storage.responses.insert(response))


async def ids(storage: Storage, *names: str) -> list[str]:
    found = [await storage.responses.get(f"resp_{name}", "t1", 2.0) for name in names]
    return [response.id.removeprefix("resp_") for response in found if response is not None]


async def test_what_was_stored_comes_back(storage: Storage):
    await keep(storage, stored("a", background=True, previous="resp_z"))

    assert await storage.responses.get("resp_a", "t1", 2.0) == stored("a", background=True, previous="resp_z")


async def test_a_stranger_finds_nothing(storage: Storage):
    await keep(storage, stored("a"), stored("b", previous="resp_a", tenant="t2"))

    assert await storage.responses.get("resp_a", "t2", 2.0) is None
    assert not await storage.responses.delete("resp_a", "t2")
    assert await storage.responses.items(["in_a"], "t2", 2.0) == {}
    assert [one.id for one in await storage.responses.chain("resp_b", "t2", 2.0)] == ["resp_b"]


async def test_a_chain_is_read_oldest_first(storage: Storage):
    await keep(storage, stored("a"), stored("b", previous="resp_a"), stored("c", previous="resp_b"))

    chain = await storage.responses.chain("resp_c", "t1", 2.0)

    assert [one.id for one in chain] == ["resp_a", "resp_b", "resp_c"]
    assert [item["id"] for one in chain for item in one.items] == ["in_a", "msg_a", "in_b", "msg_b", "in_c", "msg_c"]


async def test_a_chain_with_a_deleted_link_shows_that_something_is_missing(storage: Storage):
    await keep(storage, stored("a"), stored("b", previous="resp_a"), stored("c", previous="resp_b"))
    await storage.responses.delete("resp_a", "t1")

    chain = await storage.responses.chain("resp_c", "t1", 2.0)

    assert chain[0].previous_id == "resp_a"


async def test_items_are_found_by_id_in_their_newest_response(storage: Storage):
    await keep(storage, stored("a"), stored("b"))
    newer = stored("c", input=[{"id": "in_a", "type": "message", "role": "user", "content": "newer"}])
    await keep(storage, newer)

    found = await storage.responses.items(["in_a", "msg_b", "nothing", "msg_b"], "t1", 2.0)

    assert {key: item.get("content") for key, item in found.items()} == {"in_a": "newer", "msg_b": []}


async def test_an_update_changes_the_object_and_indexes_its_output(storage: Storage):
    begun = stored("a", response={"id": "resp_a", "status": "queued", "output": []})
    await keep(storage, begun)
    await storage.database.run(*storage.responses.update(stored("a")))

    assert await storage.responses.get("resp_a", "t1", 2.0) == stored("a")
    assert "msg_a" in await storage.responses.items(["msg_a"], "t1", 2.0)


async def test_an_update_does_not_bring_back_what_was_deleted(storage: Storage):
    await keep(storage, stored("a"))
    await storage.responses.delete("resp_a", "t1")
    storage.database.later(*storage.responses.update(stored("a")))

    assert await ids(storage, "a") == []
    assert storage.database.dropped == 0


async def test_deleting_takes_the_items_along(storage: Storage):
    await keep(storage, stored("a"))

    assert await storage.responses.delete("resp_a", "t1")
    assert not await storage.responses.delete("resp_a", "t1")
    assert await storage.responses.items(["in_a", "msg_a"], "t1", 2.0) == {}


async def test_retention_hides_at_once_and_sweeps_later(storage: Storage):
    await keep(storage, stored("a", expires_at=1.5), stored("b"))

    assert await ids(storage, "a", "b") == ["b"]
    assert await storage.responses.sweep(2.0, max_rows=0, max_chars=0) == 1
    assert (await storage.responses.count())[0] == 1


async def test_the_oldest_go_past_the_bound_of_rows(storage: Storage):
    await keep(storage, *(stored(name, created_at=float(place)) for place, name in enumerate("abcde")))

    assert await storage.responses.sweep(2.0, max_rows=3, max_chars=0) == 2
    assert await ids(storage, *"abcde") == ["c", "d", "e"]


async def test_the_oldest_go_past_the_bound_of_size(storage: Storage):
    await keep(storage, *(stored(name, created_at=float(place)) for place, name in enumerate("abcde")))
    _, size = await storage.responses.count()

    await storage.responses.sweep(2.0, max_rows=0, max_chars=size * 2 // 5)

    assert await ids(storage, *"abcde") == ["d", "e"]
    assert (await storage.responses.count())[1] <= size * 2 // 5
