#!/bin/sh
# What the official image's entry point does: options and configuration files are for redis-server, which root starts as
# the user redis, who owns the working directory. The official server is built without protected mode; this one is told.
set -e
case $1 in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
  find . ! -user redis -exec chown redis {} +
  exec setpriv --reuid redis --regid redis --clear-groups -- "$0" "$@"
fi
[ "$(umask)" != 0022 ] || umask 0077
if [ "$1" = redis-server ]; then
  case " $* " in
    *protected-mode* | *--sentinel* | *" --version "* | *" -v "* | *" --help "*) ;;
    *) set -- "$@" --protected-mode no ;;
  esac
fi
exec "$@"
