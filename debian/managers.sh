# What maintainer scripts do with every manager that runs: the system's, and that of each user who
# is logged in or lingers. debhelper does nothing for templates such as datad@.service, and nothing
# for what a user's manager runs. No failure of a manager is one of the package.

SOCKETS='samplerd.socket datad@*.socket emsd.socket emsd-trade.socket paperboi@*.socket'
SOCKETS="$SOCKETS brokerd@*.socket iblane@*.socket ibgw@*.socket"
NOTED=/run/piker-upgrade

# each_manager FUNCTION: call it with "system" and with the number of each such user
each_manager() {
    [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || return 0
    "$1" system || echo "piker: $1 failed in the system manager" >&2
    for private in /run/user/*/systemd/private; do
        [ -S "$private" ] || continue
        user=${private#/run/user/}
        user=${user%%/*}
        "$1" "$user" || echo "piker: $1 failed in the manager of user $user" >&2
    done
}

# How long one answer of a user's manager may take, s. Who doesn't answer once isn't asked again.
PATIENCE=60
SILENT=

# manage MANAGER ARGUMENT…: systemctl, as the user whose manager it is. Nothing of theirs is in the
# terminal that root's shell has: a session of its own, and files where output would go.
manage() {
    manager=$1
    shift
    if [ "$manager" = system ]; then
        timeout 300 systemctl "$@" </dev/null
        return
    fi
    case " $SILENT " in *" $manager "*) return 124 ;; esac
    said=$(mktemp -d)
    answer=0
    timeout --kill-after=5 "$PATIENCE" setsid --wait setpriv --reuid="$manager" \
        --regid="$(stat -c %g "/run/user/$manager")" --clear-groups \
        env -i PATH=/usr/bin:/bin "XDG_RUNTIME_DIR=/run/user/$manager" \
        systemctl --user "$@" </dev/null >"$said/out" 2>"$said/err" || answer=$?
    cat "$said/out"
    cat "$said/err" >&2
    rm -r "$said"
    case $answer in 124 | 137) SILENT="$SILENT $manager" ;; esac
    return "$answer"
}

# listening MANAGER FILE: a line for each socket that listens, its name first, then where and for
# whom.
listening() {
    # shellcheck disable=SC2086
    manage "$1" show --property=Id,ActiveState,Listen,SocketMode,SocketUser,SocketGroup $SOCKETS \
        >"$2.shown" || return
    awk 'BEGIN { RS = "" } /ActiveState=active/ {
        match($0, /Id=[^\n]*/)
        id = substr($0, RSTART + 3, RLENGTH - 3)
        gsub(/\n/, " ")
        print id, $0
    }' "$2.shown" | sort >"$2"
    rm "$2.shown"
}
