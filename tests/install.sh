#!/bin/sh
# Installs the Debian packages that a step needs and this machine lacks.
#
#   tests/install.sh build   what compiling needs: a C compiler, cmake (libopus), Node (web phone)
#   tests/install.sh test    and what the tests with real clients need
#
# Uses apt-get as root or through sudo without a password; otherwise prints the one command to run.
set -eu

step=${1:?"usage: tests/install.sh build|test"}
packages=

# need COMMAND PACKAGE...: asks for the packages when the command is not there.
need() {
    command=$1
    shift
    command -v "$command" >/dev/null 2>&1 || packages="$packages $*"
}

need cc gcc libc6-dev
need cmake cmake
need node nodejs
need npm npm
if [ "$step" = test ]; then
    need sipp sip-tester
    need baresip baresip-core
    need linphonec linphone-cli
    need chromium chromium
    need ip iproute2
    need promtool prometheus
    need unshare util-linux
fi

# install PACKAGE...: 0 when installed, 1 when this user may not.
install() {
    if [ "$(id -u)" = 0 ]; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        sudo apt-get update -q &&
            sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
    else
        return 1
    fi
}

if [ -n "$packages" ]; then
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "Install with this system's package manager (names of Debian's packages):$packages" >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # A list of package names.
    if ! install $packages; then
        echo "Run this as root, then try again:" >&2
        echo "    apt-get update && apt-get install -y --no-install-recommends$packages" >&2
        exit 1
    fi
fi

major=$(node -p 'process.versions.node.split(".")[0]')
if [ "$major" -lt 18 ]; then
    echo "Node.js 18 or newer is needed, this is $(node --version): install a newer one, then try again." >&2
    exit 1
fi

# Firefox needs a sound server. Where the two cannot be had, the tests run without it and say so.
if [ "$step" = test ]; then
    packages=
    need firefox-esr firefox-esr
    need pulseaudio pulseaudio
    if [ -n "$packages" ] && command -v apt-get >/dev/null 2>&1; then
        # shellcheck disable=SC2086
        install $packages || echo "Firefox is left out of the tests: no$packages here." >&2
    fi
fi
