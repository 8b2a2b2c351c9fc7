#!/bin/sh
# Builds the playground page into the Python package (src/streamward/playground/dist).
# Does nothing when the built page is newer than its sources. Needs Node 20.19 or newer with npm.
# With --if-possible a page that cannot be built is no failure: the server has a simpler one.
set -eu
if [ "${1:-}" = --if-possible ]; then
  sh "$0" || echo "build_web: going on without the full page; a simpler one is served until 'make web' succeeds" >&2
  exit 0
fi
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
web=$root/web
built=$root/src/streamward/playground/dist/index.html
installed=$web/node_modules/.package-lock.json

if [ -f "$built" ] && [ -z "$(find "$web" -path "$web/node_modules" -prune -o -type f ! -path "$web/tests/*" -newer "$built" -print | head -n 1)" ]; then
  exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
  echo "build_web: npm was not found; install Node 20.19 or newer" >&2
  exit 1
fi
cd "$web"
if [ ! -f "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  npm ci --no-audit --no-fund --no-update-notifier --fetch-retry-maxtimeout=10000 --loglevel=error
fi
npm run --silent build -- --logLevel warn
echo "build_web: built $(dirname "$built")"
