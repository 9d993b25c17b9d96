#!/bin/bash
# The part of the official image's entry point that its page documents: POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB,
# POSTGRES_INITDB_ARGS (each also as NAME_FILE), POSTGRES_HOST_AUTH_METHOD, PGDATA, /docker-entrypoint-initdb.d.
set -euo pipefail

say() { echo "docker-entrypoint: $*"; }

from_file() {
  local name=$1 file=${1}_FILE
  if [ -n "${!file:-}" ]; then
    [ -z "${!name:-}" ] || { say "both $name and $file are set" >&2; exit 1; }
    export "$name=$(cat "${!file}")"
  fi
}

initialise() {
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER
  from_file POSTGRES_DB
  from_file POSTGRES_INITDB_ARGS
  export POSTGRES_USER=${POSTGRES_USER:-postgres}
  export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
    say "the database is not initialised and POSTGRES_PASSWORD is not set" >&2
    exit 1
  fi
  local words=() sql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER")
  read -r -a words <<<"${POSTGRES_INITDB_ARGS:-}"
  initdb --username="$POSTGRES_USER" --pwfile=<(echo "${POSTGRES_PASSWORD:-}") ${words[@]+"${words[@]}"}
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"

  # a server for the socket alone, with the settings that the real one will have
  export PGPASSWORD=${PGPASSWORD:-${POSTGRES_PASSWORD:-}} PGHOST=
  local options
  options=$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")
  pg_ctl -D "$PGDATA" -o "$options" -w start
  if [ "$POSTGRES_DB" != postgres ]; then
    printf 'CREATE DATABASE :"name";\n' | "${sql[@]}" --dbname postgres --set name="$POSTGRES_DB"
  fi
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) "${sql[@]}" --dbname "$POSTGRES_DB" -f "$file" ;;
      *) say "$file is ignored" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD PGHOST
  say "initialised, ready to start"
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
case " $* " in
  *" --help "* | *" --version "* | *" -V "* | *" --describe-config "*) exec "$@" ;;
esac
if [ "$1" = postgres ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" ! -user postgres -exec chown postgres {} +
    chmod 700 "$PGDATA"
    chown postgres /var/run/postgresql
    chmod 3777 /var/run/postgresql
    exec setpriv --reuid postgres --regid postgres --clear-groups -- "$0" "$@"
  fi
  [ -s "$PGDATA/PG_VERSION" ] || initialise "$@"
fi
exec "$@"
