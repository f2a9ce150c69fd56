# Runs a PostgreSQL server of its own until standard input ends; then nothing of it is left.
# $1: directory of the server's programs; $2: port on 127.0.0.1; $3: port of the server that it is a copy of, or nothing;
# the rest: options of the server.
set -eu
programs=$1 port=$2 original=$3
shift 3
directory=$(mktemp -d "${TMPDIR:-/tmp}/faxwell-postgres.XXXXXX")
trap 'rm -rf "$directory"' EXIT
cd "$directory"
export LC_ALL=C.UTF-8
if [ -n "$original" ]; then
    # It goes on to receive what the original writes until it is promoted.
    make="$programs/pg_basebackup -D data -h 127.0.0.1 -p $original -U postgres -R -c fast --no-sync"
else
    make="$programs/initdb -D data -U postgres -A trust -E UTF8 --no-sync"
fi
$make >make.log 2>&1 || {
    cat make.log
    exit 1
}
echo "directory $directory"
"$programs/postgres" -D data -p "$port" -k "$directory" -c listen_addresses=127.0.0.1 -c max_connections=200 \
    -c shared_buffers=64MB -c max_wal_size=4GB "$@" 2>&1 </dev/null &
server=$!
# The pipe ends with the process that holds it, however that one ends.
cat >/dev/null
kill -QUIT "$server" 2>/dev/null || true
wait "$server" || true
