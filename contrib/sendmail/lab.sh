# A private Sendmail with Cyrus SASL logins and sekisho in a network of its own, as bash functions.
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2119,SC2120
#
# To be sourced; used like ../postfix/lab.sh, of which it is a variant: what is here takes the place of
# what has the same name there. Sendmail as a package would remove Postfix, so it is not installed but
# unpacked (lab_fetch), and runs from there with paths of its own. Beside network and processes the
# mounts and the host name are the lab's own too: /run, /dev, /etc/passwd, /etc/group and /etc/hosts are
# others inside, so that sekisho and Sendmail find each other at the very paths that are shipped, and
# local mailboxes have users.

sendmail_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../postfix/lab.sh
. "$sendmail_here/../postfix/lab.sh"

lab_packages_run="m4 libsasl2-2 libsasl2-modules libsasl2-modules-db libdb5.3 libldap-2.5-0 libnsl2
    libssl3 libwrap0 netbase iproute2 util-linux openssl python3 sqlite3"
lab_packages_unpack="sendmail-bin sendmail-cf sasl2-bin"
lab_tools="unshare setpriv ip m4 openssl python3 sqlite3"

# ---------------------------------------------------------------- what the machine must have

# lab_fetched DIR: has it all been unpacked there?
lab_fetched() { [ -x "$1/usr/libexec/sendmail/sendmail" ] && [ -e "$1/complete" ]; }

# lab_fetch DIR: unpacks Sendmail and the SASL password tool into DIR, from Debian's archive.
lab_fetch()
{
    local to=$1 work file
    lab_fetched "$to" && return 0
    command -v apt-get >/dev/null || lab_fail "no apt-get here to fetch Sendmail with"
    work=$(mktemp -d /tmp/sekisho-fetch.XXXXXX) || lab_fail "no directory in /tmp"
    # The lists of a fresh machine may be missing, those of an old one out of date.
    if ! { lab_download "$work" || { timeout 600 apt-get -qq update && lab_download "$work"; }; } \
        </dev/null >"$work/log" 2>&1; then
        tail -n 15 "$work/log" >&2
        rm -rf "$work"
        lab_fail "apt-get could not download: $lab_packages_unpack"
    fi
    mkdir -p "$to"
    for file in "$work"/*.deb; do
        dpkg -x "$file" "$to" || lab_fail "cannot unpack $file"
    done
    rm -rf "$work"
    : >"$to/complete"
}

# shellcheck disable=SC2086  # a list of words
lab_download() { (cd "$1" && timeout 600 apt-get -qq -o APT::Sandbox::User=root download $lab_packages_unpack); }

# ---------------------------------------------------------------- into the lab

# lab_enter SCRIPT ARGUMENT...: as there, with the tools of this lab. SENDMAIL_ROOT is where Sendmail has been
# unpacked, or will be; by default in the lab's directory, and gone with it.
lab_enter()
{
    if [ -n "${SEKISHO_LAB:-}" ] && [ $$ -eq 1 ]; then
        lab_inside_mounts
        lab_inside
        lab_inside_sendmail
        return 0
    fi
    [ "$(id -u)" -eq 0 ] || lab_fail "this must be run as root: it makes a network of its own"
    local tool
    for tool in $lab_tools; do
        command -v "$tool" >/dev/null || lab_fail "$tool is not installed"
    done
    lab=$(mktemp -d /tmp/sekisho-lab.XXXXXX) || lab_fail "no directory in /tmp"
    chmod 755 "$lab"
    lab_unshare=0
    trap 'lab_outside_end' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    export SENDMAIL_ROOT=${SENDMAIL_ROOT:-$lab/unpacked}
    lab_fetch "$SENDMAIL_ROOT"
    SEKISHO_LAB=$lab unshare --net --mount --pid --uts --fork --kill-child -- bash "$@" &
    lab_unshare=$!
    wait $lab_unshare
    exit $?
}

# Sendmail wants no file in a directory that all may write to, as /tmp: the lab is /run/lab inside.
lab_inside_mounts()
{
    if ! mount -t tmpfs -o mode=755 tmpfs /run || ! mkdir /run/lab ||
        ! mount --bind "$SEKISHO_LAB" /run/lab; then
        lab_fail "cannot mount a /run"
    fi
    lab=/run/lab
}

lab_inside_sendmail()
{
    local name user id=7100
    lab_conf=$lab/mail-conf lab_maillog=$lab/mail.log
    lab_root=${SENDMAIL_ROOT/#"$SEKISHO_LAB"/$lab}
    mkdir -p "$lab_conf" "$lab_queue" "$lab_sink" "$lab_mail" "$lab/clientqueue" "$lab/dev"
    mount -t tmpfs -o mode=755 tmpfs "$lab/dev" || lab_fail "cannot mount a /dev"
    for name in null zero full random urandom tty; do
        : >"$lab/dev/$name"
        mount --bind "/dev/$name" "$lab/dev/$name" || lab_fail "cannot mount /dev/$name"
    done
    ln -s /proc/self/fd "$lab/dev/fd"
    mount --rbind "$lab/dev" /dev || lab_fail "cannot mount /dev"
    # Debian's users for Sendmail, one for sekisho, and the people.
    cp /etc/passwd "$lab/passwd"
    cp /etc/group "$lab/group"
    for user in smmta smmsp sekisho $lab_logins; do
        sed -i "/^$user:/d" "$lab/passwd" "$lab/group"
        id=$((id + 1))
        echo "$user:x:$id:$id::$lab:/usr/sbin/nologin" >>"$lab/passwd"
        echo "$user:x:$id:" >>"$lab/group"
    done
    grep -q ^postfix: "$lab/group" || echo "postfix:x:7100:" >>"$lab/group"     # lab_write_policy names it
    chmod 644 "$lab/passwd" "$lab/group"
    mount --bind "$lab/passwd" /etc/passwd || lab_fail "cannot mount /etc/passwd"
    mount --bind "$lab/group" /etc/group || lab_fail "cannot mount /etc/group"
    # Without a name for itself Sendmail waits for one, a minute at each start.
    printf '127.0.0.1 localhost\n%s mail.example.jp mail\n' "$lab_server4" >"$lab/hosts"
    mount --bind "$lab/hosts" /etc/hosts || lab_fail "cannot mount /etc/hosts"
    echo mail.example.jp >/proc/sys/kernel/hostname || lab_fail "cannot set the host name"
    for user in $lab_logins; do mkdir -p "$lab_mail/$user/new"; done
    mkdir -p /run/sendmail/mta /run/sekisho
    chown smmsp:smmsp "$lab/clientqueue"
    chmod 770 "$lab/clientqueue"
    chmod 700 "$lab_queue"
}

# ---------------------------------------------------------------- Sendmail

# lab_site_mc [SEKISHO.M4 [LINE...]]: the site as it would be without sekisho (Debian's stock features), more
# lines, and then the very lines that are shipped.
lab_site_mc()
{
    local cf=$lab_root/usr/share/sendmail/cf family address families=inet
    [ "$lab_ipv6" = no ] || families="inet inet6"
    cat <<-END
	define(\`_USE_ETC_MAIL_')dnl
	define(\`_CF_DIR_', \`$cf/')dnl
	define(\`MAIL_SETTINGS_DIR', \`$lab_conf/')dnl
	include(\`$cf/m4/cf.m4')dnl
	include(\`$cf/debian/autoconf.m4')dnl
	OSTYPE(\`debian')dnl
	DOMAIN(\`debian-mta')dnl
	undefine(\`confHOST_STATUS_DIRECTORY')dnl
	define(\`STATUS_FILE', \`$lab/statistics')dnl
	define(\`confDEAD_LETTER_DROP', \`$lab/dead.letter')dnl
	define(\`QUEUE_DIR', \`$lab_queue')dnl
	define(\`ALIAS_FILE', \`$lab_conf/aliases')dnl
	define(\`confDOMAIN_NAME', \`mail.example.jp')dnl
	define(\`confSERVICE_SWITCH_FILE', \`$lab_conf/service.switch')dnl
	define(\`confTO_IDENT', \`0')dnl
	define(\`confLOG_LEVEL', \`12')dnl
	define(\`confQUEUE_LA', \`1000')dnl
	define(\`confREFUSE_LA', \`1000')dnl
	define(\`confAUTH_MECHANISMS', \`PLAIN LOGIN')dnl
	define(\`confAUTH_OPTIONS', \`A p')dnl
	define(\`confSERVER_CERT', \`$lab_conf/cert.pem')dnl
	define(\`confSERVER_KEY', \`$lab_conf/key.pem')dnl
	define(\`confCACERT_PATH', \`$lab_conf')dnl
	define(\`confCACERT', \`$lab_conf/cert.pem')dnl
	define(\`confPRIVACY_FLAGS', \`needmailhelo,restrictqrun,authwarnings')dnl
	define(\`LOCAL_MAILER_PATH', \`$lab/deliver')dnl
	define(\`LOCAL_MAILER_ARGS', \`deliver \$u')dnl
	define(\`SMART_HOST', \`relay:[127.0.0.1]')dnl
	define(\`RELAY_MAILER_ARGS', \`TCP \$h 2525')dnl
	FEATURE(\`no_default_msa')dnl
	END
    # The stock lines, open to all. Both families at any address is one bind too many; with the usual queue
    # of ten a burst of a hundred sessions waits for SYNs to be sent again.
    for family in $families; do
        address=0.0.0.0
        [ "$family" = inet ] || address=$lab_server6
        cat <<-END
	DAEMON_OPTIONS(\`Family=$family, Name=MTA-$family, Port=smtp, Addr=$address, Listen=200')dnl
	DAEMON_OPTIONS(\`Family=$family, Name=MSP-$family, Port=submission, M=Ea, Addr=$address, Listen=200')dnl
	DAEMON_OPTIONS(\`Family=$family, Name=TLS-$family, Port=465, M=Eas, Addr=$address, Listen=200')dnl
	END
    done
    cat <<-END
	LOCAL_DOMAIN(\`example.jp localhost')dnl
	VIRTUSER_DOMAIN(\`alias.example')dnl
	RELAY_DOMAIN(\`backup.example')dnl
	FEATURE(\`virtusertable', \`hash -o $lab_conf/virtusertable')dnl
	FEATURE(\`access_db', \`hash -T<TMPF> -o $lab_conf/access', \`skip')dnl
	FEATURE(\`delay_checks', \`friend', \`n')dnl
	FEATURE(\`accept_unresolvable_domains')dnl
	FEATURE(\`nocanonify')dnl
	$(printf '%s\n' "${@:2}")
	MAILER_DEFINITIONS
	MAILER(\`local')dnl
	MAILER(\`smtp')dnl
	LOCAL_CONFIG
	ESASL_CONF_PATH=$lab_conf/sasl
	include(\`${1:-$sendmail_here/sekisho.m4}')dnl
	END
}

# shellcheck disable=SC2094  # it writes NAME.db
lab_makemap() { "$lab_root/usr/libexec/sendmail/makemap" -C "$lab_conf/sendmail.cf" hash "$lab_conf/$1" <"$lab_conf/$1"; }

# lab_make_cf MC CF
lab_make_cf()
{
    m4 "$1" >"$2" 2>"$lab/m4.log" || { cat "$lab/m4.log" >&2; lab_fail "m4 does not like $1"; }
}

lab_write_sendmail()
{
    local user
    openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=mail.example.jp \
        -keyout "$lab_conf/key.pem" -out "$lab_conf/cert.pem" 2>/dev/null ||
        lab_fail "openssl made no certificate"
    chmod 600 "$lab_conf/key.pem"
    # Debian's own files would include autoconf.m4 by the name that it has when installed.
    lab_site_mc >"$lab_conf/sendmail.mc"
    lab_make_cf "$lab_conf/sendmail.mc" "$lab_conf/sendmail.cf"

    cat >"$lab_conf/submit.mc" <<-END
	define(\`_USE_ETC_MAIL_')dnl
	define(\`_CF_DIR_', \`$lab_root/usr/share/sendmail/cf/')dnl
	define(\`MAIL_SETTINGS_DIR', \`$lab_conf/')dnl
	include(\`$lab_root/usr/share/sendmail/cf/m4/cf.m4')dnl
	include(\`$lab_root/usr/share/sendmail/cf/debian/autoconf.m4')dnl
	OSTYPE(\`debian')dnl
	undefine(\`confHOST_STATUS_DIRECTORY')dnl
	define(\`MSP_QUEUE_DIR', \`$lab/clientqueue')dnl
	define(\`confPID_FILE', \`/run/sendmail/msp.pid')dnl
	define(\`confDOMAIN_NAME', \`mail.example.jp')dnl
	define(\`confSERVICE_SWITCH_FILE', \`$lab_conf/service.switch')dnl
	FEATURE(\`accept_unresolvable_domains')dnl
	FEATURE(\`msp', \`[127.0.0.1]', \`25')dnl
	END
    lab_make_cf "$lab_conf/submit.mc" "$lab_conf/submit.cf"

    printf 'hosts files\naliases files\npasswd files\n' >"$lab_conf/service.switch"
    : >"$lab_conf/trusted-users"
    cat >"$lab_conf/aliases" <<-END
	MAILER-DAEMON: postmaster
	root: postmaster
	forwarded: someone@far.example
	chief: postmaster
	END
    printf 'info@alias.example\ttaro\npm@alias.example\tpostmaster\n@alias.example\terror:nouser 550 No such user here\n' >"$lab_conf/virtusertable"
    printf 'From:banned.example\tREJECT\n' >"$lab_conf/access"
    lab_makemap virtusertable || lab_fail "no virtusertable"
    lab_makemap access || lab_fail "no access map"
    lab_sendmail -bi </dev/null >>"$lab/start.log" 2>&1 ||
        { cat "$lab/start.log" >&2; lab_fail "Sendmail makes no aliases"; }

    # A mailbox is a folder, a message a file in it.
    cat >"$lab/deliver" <<-END
	#!/bin/sh
	cd "$lab_mail/\$1/new" || exit 67
	exec 1>"\$(date +%s%N).\$\$" && exec cat
	END
    chmod 755 "$lab/deliver"

    mkdir -p "$lab_conf/sasl"
    cat >"$lab_conf/sasl/Sendmail.conf" <<-END
	pwcheck_method: auxprop
	auxprop_plugin: sasldb
	sasldb_path: $lab_conf/sasldb
	mech_list: PLAIN LOGIN
	END
    for user in $lab_logins taro+tag; do
        printf %s "$user-secret" | "$lab_root/usr/sbin/saslpasswd2" -c -p -f "$lab_conf/sasldb" \
            -u mail.example.jp "$user" || lab_fail "no password for $user"
    done
    chmod 600 "$lab_conf/sasldb"
}

# lab_sendmail ARGUMENT...: the program with the MTA's configuration
lab_sendmail() { timeout 60 "$lab_root/usr/libexec/sendmail/sendmail" -C "$lab_conf/sendmail.cf" "$@"; }

lab_start_sendmail()
{
    "$lab_root/usr/libexec/sendmail/sendmail" -C "$lab_conf/sendmail.cf" -bD -q5s </dev/null >>"$lab/start.log" 2>&1 &
    lab_sendmail_pid=$!
    lab_wait_port 127.0.0.1 25 || { tail "$lab/start.log" "$lab_maillog" >&2; lab_fail "nobody on port 25"; }
}

lab_stop_sendmail()
{
    kill -TERM "$lab_sendmail_pid" 2>/dev/null
    wait "$lab_sendmail_pid" 2>/dev/null
    lab_until 15 lab_port_closed 127.0.0.1 25 || lab_fail "Sendmail did not stop"
}

lab_restart_sendmail() { lab_stop_sendmail; lab_start_sendmail; }

lab_port_closed() { ! lab_port_open "$1" "$2"; }

# All mail that leaves Sendmail becomes one file a message in $lab_sink; its syslog is $lab_maillog.
lab_start_sink()
{
    "$lab_python" "$sendmail_here/listen.py" "$lab_sink" "$lab_maillog" </dev/null >>"$lab/start.log" 2>&1 &
    lab_wait_port 127.0.0.1 2525 || { cat "$lab/start.log" >&2; lab_fail "no sink"; }
}

lab_queue_empty() { [ -z "$(find "$lab_queue" "$lab/clientqueue" -type f -name '[qd]f*' 2>/dev/null)" ]; }

# ---------------------------------------------------------------- sekisho

# As the README says: a user of its own and a directory in /run that belongs to it.
lab_start_sekisho()
{
    local door
    mkdir -p "$lab/state"
    chown sekisho:sekisho "$lab/state" /run/sekisho
    chmod 750 /run/sekisho
    chown root:sekisho "$lab_policy"
    chmod 640 "$lab_policy"
    : >>"$lab_log"
    setpriv --reuid="$(id -u sekisho)" --regid="$(id -g sekisho)" --clear-groups -- \
        "$lab_build/milter/sekisho-milter" --policy "$lab_policy" --state "$lab_state" \
        --socket unix:/run/sekisho/milter.sock --permit unix:/run/sekisho/permit.sock \
        --stderr </dev/null >>"$lab_log" 2>&1 &
    lab_sekisho_pid=$!
    for door in milter permit; do
        lab_until 10 lab_listens "/run/sekisho/$door.sock" ||
            { tail -n 5 "$lab_log" >&2; lab_fail "sekisho-milter did not open $door.sock"; }
    done
}

lab_start()
{
    lab_build=$1
    [ -x "$lab_build/milter/sekisho-milter" ] ||
        lab_fail "$lab_build/milter/sekisho-milter is not built"
    [ -x "$lab_build/ctl/sekisho" ] || lab_fail "$lab_build/ctl/sekisho is not built"
    lab_start_sink
    lab_write_sendmail
    lab_write_policy
    lab_start_sekisho
    lab_start_sendmail
}
