#!/usr/bin/env bash
# What the tests need from the system: a browser, nginx, Redis, PostgreSQL, and the npm packages of the Node tests.
# Installs what is missing where that is allowed; what cannot be had is said here, and its tests skip with the reason.
set -uo pipefail
cd "$(dirname "$0")/.."

missing=()
have() { command -v "$1" >/dev/null 2>&1; }
have nginx || [ -x /usr/sbin/nginx ] || missing+=(nginx)
have redis-server || missing+=(redis-server)
have chromium || missing+=(chromium)
have curl || missing+=(curl)
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql)

if [ ${#missing[@]} -gt 0 ]; then
  if have apt-get && [ "$(id -u)" = 0 ]; then
    echo "test services: installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Nothing may start by itself while we install: the tests start private servers on ports of their own.
    policy=/usr/sbin/policy-rc.d
    made=no
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=yes; }
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
      echo "test services: apt could not install ${missing[*]}; their tests will be skipped"
    [ "$made" = no ] || rm -f "$policy"
  else
    echo "test services: not here and not installable without root: ${missing[*]}; their tests will be skipped"
  fi
fi

if have npm; then
  for folder in tests/node tests/aisdk/*/ examples/*/; do
    folder=${folder%/}
    [ -f "$folder/package-lock.json" ] || continue
    if [ ! -e "$folder/node_modules/.stamp" ] || [ "$folder/package-lock.json" -nt "$folder/node_modules/.stamp" ]; then
      echo "test services: npm ci in $folder"
      (cd "$folder" && npm ci --silent --no-audit --no-fund >/dev/null && touch node_modules/.stamp) ||
        echo "test services: npm ci failed in $folder; its tests will be skipped"
    fi
  done
else
  echo "test services: no npm here; the Node tests will be skipped"
fi
