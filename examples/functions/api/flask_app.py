"""A Flask application as a function: WSGI in a thread of its own, streamed all the same."""

from flask import Flask, Response

app = Flask(__name__)


@app.get("/api/flask_app")
def count() -> Response:
    return Response((f"{number}\n" for number in range(3)), mimetype="text/plain")
