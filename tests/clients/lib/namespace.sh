#!/bin/sh
# Runs a command in a network namespace of its own: loopback, and a pair of virtual interfaces with
# addresses besides loopback, since browsers gather no ICE candidate on loopback alone.
#
#   namespace.sh COMMAND [ARGUMENT...]
#
# Works as root and as a user who may make user namespaces.
set -eu

if [ "${1:-}" = --inside ]; then
    shift
    ip link set lo up
    ip link add caller type veth peer name server
    # No address may come or go later: a browser that sees its network change gives up its requests.
    ip link set caller addrgenmode none
    ip link set server addrgenmode none
    ip address add 10.200.0.2/24 dev caller
    ip address add 10.200.0.1/24 dev server
    ip address add fd00:200::2/64 dev caller nodad
    ip address add fd00:200::1/64 dev server nodad
    ip link set caller up
    ip link set server up
    # Firefox offers only the addresses of the default routes. Name servers are out of reach at once, so
    # that a library that asks for a public STUN server does not wait for its name.
    ip route add default dev caller
    ip -6 route add default dev caller
    sed -n 's/^nameserver *\([0-9.]*\)$/\1/p' /etc/resolv.conf | while read -r name_server; do
        case $name_server in
        127.* | "") ;;
        *) ip route add unreachable "$name_server/32" ;;
        esac
    done
    exec "$@"
fi

if unshare --net true 2>/dev/null; then
    exec unshare --net -- "$0" --inside "$@"
elif unshare --user --map-root-user --net true 2>/dev/null; then
    exec unshare --user --map-root-user --net -- "$0" --inside "$@"
else
    echo "namespace.sh: this user may make no network namespace; run as root, or allow user namespaces" >&2
    exit 1
fi
