"""A whole FastAPI application as one function: it gets every path below ``/api/fastapi_app``."""

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/api/fastapi_app")
async def count() -> StreamingResponse:
    async def numbers():
        for number in range(3):
            yield f"{number}\n"

    return StreamingResponse(numbers(), media_type="text/plain")
