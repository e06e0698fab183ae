#!/usr/bin/env bash
# Gets the database servers that the tests start: MariaDB from Debian's packages,
# and MySQL unpacked (not installed) into .servers/mysql of the main checkout,
# where every git worktree finds it; so is what MariaDB's core packages leave out,
# into .servers/mariadb. Quick when all is there. What it cannot get
# it names, with the way to get it; that is an error only when servers are
# required (CI=true or CDCD_TEST_REQUIRE_SERVERS=1).
#
# nats-server is built by the tests themselves, from the module cache.
set -euo pipefail
cd "$(dirname "$0")/.."

mirror=${CDCD_DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=sid # the only Debian suite with MySQL
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

main_checkout() {
    local common
    if common=$(git rev-parse --path-format=absolute --git-common-dir 2>/dev/null); then
        dirname "$common"
    else
        pwd # a source archive without git
    fi
}
servers=$(realpath -m "${CDCD_TEST_SERVERS:-$(main_checkout)/.servers}")

missing=0
complain() {
    missing=1
    printf '\n*** MISSING: %s\n***   %s\n' "$1" "$2" >&2
}

# thrice runs a command up to three times, and sets got when it went well: a mirror
# may be in the middle of an update, and somebody else may hold apt's lock. The
# command runs in the background, and thrice stands in no condition, because bash
# would ignore set -e in it otherwise.
thrice() {
    local try
    for try in 1 2 3; do
        "$@" &
        if wait $!; then
            got=1
            return
        fi
        if [ "$try" -lt 3 ]; then
            echo "servers: once more in $((15 * try)) s" >&2
            sleep $((15 * try))
        fi
    done
    got=0
}

have() { command -v "$1" >/dev/null 2>&1; }
debian() { have apt-get && have dpkg-deb; }

# The core packages have the server without a service that would start.
mariadb_packages="mariadb-server-core mariadb-client-core"

mariadb() {
    if [ -n "${CDCD_TEST_MARIADBD:-}" ] || PATH=$PATH:/usr/sbin:/usr/local/sbin have mariadbd; then
        return
    fi
    if ! debian || [ "$(id -u)" != 0 ]; then
        complain MariaDB "install mariadbd (Debian: apt-get install $mariadb_packages), or set CDCD_TEST_MARIADBD"
        return
    fi
    echo "servers: installing MariaDB"
    thrice install $mariadb_packages
    if [ "$got" = 0 ]; then
        complain MariaDB "apt-get install $mariadb_packages failed, see above"
    fi
}

# mariadb_more gets MariaDB's plugins and mariadb-binlog, which are in packages
# that would start a service.
mariadb_more() {
    if [ -n "${CDCD_TEST_MARIADBD:-}" ]; then
        return
    fi
    local plugins version
    plugins=$(PATH=$PATH:/usr/sbin:/usr/local/sbin mariadbd --no-defaults --verbose --help 2>/dev/null | awk '$1 == "plugin-dir" {print $2}') || return 0 # complained of already
    if have mariadb-binlog && [ -e "$plugins/auth_ed25519.so" ]; then
        return
    fi
    if ! debian || ! version=$(dpkg-query -W -f '${Version}' mariadb-server-core 2>/dev/null); then
        complain "MariaDB's plugins and mariadb-binlog" "install what your system calls MariaDB's server and client"
        return
    fi
    if [ "$(cat "$servers/mariadb/version" 2>/dev/null)" = "$version" ]; then
        return
    fi
    echo "servers: unpacking the rest of MariaDB $version into $servers/mariadb"
    unpack_mariadb "$version" &
    if wait $!; then
        return
    fi
    if [ "$(id -u)" = 0 ]; then # the mirror may have a newer one only
        thrice install $mariadb_packages
        version=$(dpkg-query -W -f '${Version}' mariadb-server-core)
    fi
    thrice unpack_mariadb "$version"
    if [ "$got" = 0 ]; then
        complain "MariaDB's plugins and mariadb-binlog" "mariadb-server and mariadb-client $version can't be had, see above: apt-get update and upgrade $mariadb_packages"
    fi
}

unpack_mariadb() (
    set -e
    mkdir -p "$servers"
    work=$(mktemp -d "$servers/unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/all" "$work/root"
    cd "$work"
    apt-get -q -o APT::Sandbox::User="$(id -un)" download "mariadb-server=$1" "mariadb-client=$1"
    for deb in *.deb; do
        dpkg-deb --extract "$deb" all
    done
    mv all/usr/bin/mariadb-binlog all/usr/lib/mysql/plugin root
    echo "$1" >root/version
    chmod 755 root
    rm -rf "$servers/mariadb" # of another version
    mv -T root "$servers/mariadb" || [ "$(cat "$servers/mariadb/version")" = "$1" ]
)

install() (
    set -e
    apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "$@"
)

mysql() {
    if [ -n "${CDCD_TEST_MYSQLD:-}" ] || [ -x "$servers/mysql/usr/sbin/mysqld" ]; then
        return
    fi
    # MariaDB also calls itself mysqld.
    if have mysqld && ! mysqld --version | grep -q MariaDB; then
        return
    fi
    if ! debian || [ ! -r "$keyring" ]; then
        complain "MySQL 8.4 or later" "install mysqld, or set CDCD_TEST_MYSQLD to one"
        return
    fi
    echo "servers: unpacking MySQL into $servers/mysql"
    thrice unpack_mysql
    if [ "$got" = 0 ]; then
        complain "MySQL 8.4 or later" "unpacking it from $mirror failed, see above; or set CDCD_TEST_MYSQLD to one"
    fi
}

# unpack_mysql lets apt resolve MySQL's dependencies against an empty system,
# and unpacks them side by side. Tests run that mysqld with its own dynamic
# linker and libraries, so this needs no root and leaves the system alone.
# Signatures are verified; their age is not, because a mirror may lag behind
# sid's short validity, and nothing but tests ever runs this server.
unpack_mysql() (
    set -e
    mkdir -p "$servers"
    work=$(mktemp -d "$servers/unpack.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work"/{lists,cache/archives}/partial "$work/root"
    : >"$work/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
    apt=(apt-get -q -y
        -o Dir::State::status="$work/status" -o Dir::State::lists="$work/lists"
        -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list"
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o Acquire::Languages=none
        -o Acquire::Check-Valid-Until=false
        -o Debug::NoLocking=true -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false)
    "${apt[@]}" update
    "${apt[@]}" install --download-only mysql-server-core
    for deb in "$work"/cache/archives/*.deb; do
        dpkg-deb --extract "$deb" "$work/root"
    done
    rm -rf "$work/root/usr/share/"{doc,man,locale,perl}
    [ -x "$work/root/usr/sbin/mysqld" ]
    chmod 755 "$work/root"
    # Another run may have been faster. Without -T, mv would put it inside that one's.
    mv -T "$work/root" "$servers/mysql" || [ -x "$servers/mysql/usr/sbin/mysqld" ]
)

mariadb
mariadb_more
mysql
if [ "$missing" = 0 ]; then
    echo "servers: all there"
elif [ "${CI:-}" = true ] || [ "${CDCD_TEST_REQUIRE_SERVERS:-}" = 1 ]; then
    exit 1
else
    printf '\n*** Tests that need a missing server will be SKIPPED.\n\n' >&2
fi
