"""Paths to functions."""

import pytest

from streamward.functions.project import RewriteRule
from streamward.functions.router import Route, Router, with_query
from streamward.functions.settings import FunctionConfig

PATHS = {
    "/api": "asgi", "/api/users/me": "methods", "/api/users/[id]": "methods", "/api/users/[id]/posts/[post]": "methods",
    "/api/docs/[...slug]": "methods", "/api/opt/[[...slug]]": "methods", "/api/mix/[id]": "methods",
    "/api/mix/[...rest]": "methods", "/api/mix/[[...all]]": "methods", "/api/tool": "handler", "/api/t/[tenant]": "wsgi",
    "/api/x y": "methods",
}  # fmt: skip
REWRITES = (
    RewriteRule("/blog/:slug", "/api/docs/:slug"),
    RewriteRule("/old/:path*", "/api/docs/:path*?old=1"),
    RewriteRule("/all/(.*)", "/api/docs/$1"),
    RewriteRule("/home", "/api/index"),
    RewriteRule("/(.*)", "/api/index"),
)


def router(rewrites=()):
    routes = tuple(Route(p, p, "api", kind, (), FunctionConfig()) for p, kind in PATHS.items())
    return Router(routes, rewrites)


CASES = [
    ("/api", "/api", {}),
    ("/api/", "/api", {}),
    ("/api/users/me", "/api/users/me", {}),
    ("/api/users/me/", "/api/users/me", {}),
    ("/api/users/7", "/api/users/[id]", {"id": "7"}),
    ("/api/users/a%2Fb", "/api/users/[id]", {"id": "a/b"}),
    ("/api/users/%C3%A9", "/api/users/[id]", {"id": "é"}),
    ("/api/users/me/posts/2", "/api/users/[id]/posts/[post]", {"id": "me", "post": "2"}),
    ("/api/docs/a/b%2Fc", "/api/docs/[...slug]", {"slug": ["a", "b/c"]}),
    ("/api/docs", "/api", {}),
    ("/api/opt", "/api/opt/[[...slug]]", {"slug": []}),
    ("/api/opt/a/b/", "/api/opt/[[...slug]]", {"slug": ["a", "b"]}),
    ("/api/mix", "/api/mix/[[...all]]", {"all": []}),
    ("/api/mix/1", "/api/mix/[id]", {"id": "1"}),
    ("/api/mix/1/2", "/api/mix/[...rest]", {"rest": ["1", "2"]}),
    ("/api/tool/any/thing", "/api/tool", {}),
    ("/api/t/acme/deep/er", "/api/t/[tenant]", {"tenant": "acme"}),
    ("/api/nothing/here", "/api", {}),
    ("/api/users//posts/1", "/api", {}),
    ("/api/x%20y", "/api/x y", {}),
    ("/other", None, None),
    ("/api/users/..", None, None),
    ("/api/users/%2e%2e", None, None),
    ("/api/../secret", None, None),
    ("/api/.env", None, None),
    ("/v1/chat/completions", None, None),
    ("/_streamward/live", None, None),
    ("api", None, None),
]


@pytest.mark.parametrize(("path", "route", "params"), CASES)
def test_paths_choose_segment_by_segment(path, route, params):
    match = router().match(path)

    assert (route, params) == ((match.route.path, match.params) if match else (None, None))


REWRITTEN = [
    ("/blog/x", "/api/docs/[...slug]", {"slug": ["x"]}, ""),
    ("/old/a/b", "/api/docs/[...slug]", {"slug": ["a", "b"]}, "old=1"),
    ("/all/a/b", "/api/docs/[...slug]", {"slug": ["a", "b"]}, ""),
    ("/home", "/api", {}, ""),
    ("/", "/api", {}, ""),
    ("/any/thing/", "/api", {}, ""),
    ("/api/users/me", "/api/users/me", {}, ""),
]


@pytest.mark.parametrize(("path", "route", "params", "query"), REWRITTEN)
def test_rewrites_apply_when_no_file_matches(path, route, params, query):
    match = router(REWRITES).match(path)

    assert match is not None
    assert (route, params, query) == (match.route.path, match.params, match.query)


@pytest.mark.parametrize("path", ["/v1/models", "/_streamward/logs", "/api/../x", "/.env"])
def test_rewrites_cannot_shadow_what_is_not_theirs(path):
    assert router(REWRITES).match(path) is None


def test_path_values_replace_query_parameters():
    assert with_query("id=1&q=%2B&i%64=2", {"id": "a b", "s": ["x", "y"]}) == "q=%2B&id=a%20b&s=x&s=y"
