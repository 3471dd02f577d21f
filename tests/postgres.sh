#!/bin/sh
# A PostgreSQL for tests, in a new folder, behind a Unix socket there, which ends and is removed with whoever started it: when the
# input ends. Says `ready FOLDER` once it answers. Takes `stop` (as a crash: without a checkpoint), `start`, and answers each with `done`.
# For tests alone: nothing is synced to disk.
set -eu

# It refuses to run as root; the text is handed over, for its user may not be able to read the file.
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid=postgres --regid=postgres --init-groups sh -c "$(cat "$0")" sh
fi

bin=$(for at in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do [ -x "$at/initdb" ] && echo "$at"; done | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)") || { echo "there is no PostgreSQL: deploy/setup.sh test" >&2; exit 1; }

cd /
folder=$(mktemp -d /tmp/hookbus-pg.XXXXXX)
pid=
start() {
    "$bin/postgres" -D "$folder/data" -c listen_addresses= -c "unix_socket_directories=$folder" -c fsync=off -c full_page_writes=off \
        -c max_connections=300 -c max_locks_per_transaction=512 -c shared_buffers=64MB </dev/null >>"$folder/log" 2>&1 &
    pid=$!
    until "$bin/pg_isready" -q -h "$folder"; do
        kill -0 "$pid" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
        sleep 0.1
    done
}
stop() {
    kill -QUIT "$pid" 2>/dev/null || true
    wait "$pid" || true
}
trap 'stop; rm -rf "$folder"' EXIT
"$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >"$folder/init" 2>&1 || { cat "$folder/init" >&2; exit 1; }
start
echo "ready $folder"
while read -r word; do
    case $word in
    stop) stop ;;
    start) start ;;
    esac
    echo done
done
