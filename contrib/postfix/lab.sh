# A private Postfix with Dovecot logins and sekisho in a network of its own, as bash functions.
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034,SC2119,SC2120
#
# To be sourced. The script that sources it calls, in this order,
#
#   lab_install_...            on the machine, if packages may be installed
#   lab_enter "$0" "$@"        from here on the script runs inside the lab (see below)
#   lab_start BUILD            Postfix, Dovecot, a sink for outgoing mail, sekisho from BUILD
#   lab_session ARGUMENTS      one SMTP session (session.py) from any source address
#   ...
#
# The machine's own mail system is neither used nor touched: config, queue and data directory lie
# in a fresh directory, and the ports belong to a network namespace with nothing but lo in it,
# where every address of the world is local: a client may come from 220.86.126.33, and nothing can
# leave. All processes live in a pid namespace: when its first process (the script itself) ends,
# the kernel ends the others, so nothing is ever looked up and killed by its name.

lab_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab_server4=198.51.100.25
lab_server6=2001:db8:25::25
case ":$PATH:" in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin ;; esac
lab_python=/usr/bin/python3
[ -x $lab_python ] || lab_python=python3

lab_fail()
{
    echo "lab: $*" >&2
    exit 1
}

# ---------------------------------------------------------------- what the machine must have

# lab_install PACKAGE...: what is missing, from Debian's archive, without starting any service.
# A Postfix or Dovecot that is installed already is left alone entirely.
lab_install()
{
    local package missing=() fresh_dovecot=no policy=/usr/sbin/policy-rc.d made_policy=no rc=0
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || lab_fail "no apt-get here; please install: ${missing[*]}"
    case " ${missing[*]} " in
    *" postfix "*)
        package=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package} ${Provides}\n' |
            awk '$1 == "ii" && /mail-transport-agent/ { print $2; exit }')
        [ -z "$package" ] || lab_fail "the mail system of this machine is $package, and installing" \
            "Postfix would remove it: please try on another machine" ;;
    esac
    echo "Installing: ${missing[*]}"
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made_policy=yes
    fi
    case " ${missing[*]} " in *" dovecot-core "*) fresh_dovecot=yes ;; esac
    case " ${missing[*]} " in *" postfix "*)
        echo "postfix postfix/main_mailer_type select No configuration" |
            debconf-set-selections || true ;;
    esac
    {
        timeout 600 apt-get -qq update &&
        DEBIAN_FRONTEND=noninteractive timeout 1800 apt-get -qq -y -o Dpkg::Use-Pty=0 \
            install --no-install-recommends "${missing[@]}"
    } </dev/null >/tmp/sekisho-apt.$$ 2>&1 || rc=$?
    [ $made_policy = no ] || rm -f $policy
    if [ $rc -ne 0 ]; then
        tail -n 15 /tmp/sekisho-apt.$$ >&2
        rm -f /tmp/sekisho-apt.$$
        lab_fail "apt-get could not install: ${missing[*]}"
    fi
    rm -f /tmp/sekisho-apt.$$
    # Postfix without main.cf does not start at boot; Dovecot would.
    if [ $fresh_dovecot = yes ] && command -v systemctl >/dev/null; then
        systemctl --quiet disable dovecot.service dovecot.socket >/dev/null 2>&1 || true
    fi
}

lab_packages_run="postfix dovecot-core iproute2 util-linux openssl python3 sqlite3"
lab_packages_build="gcc cmake ninja-build pkg-config libc6-dev libmilter-dev libcidr-dev
    libsqlite3-dev libidn2-dev libpsl-dev libsodium-dev libjansson-dev"

# ---------------------------------------------------------------- into the lab and out of it

# lab_enter SCRIPT ARGUMENT...: returns only inside the lab; outside, it runs SCRIPT again inside
# and exits with its status. SEKISHO_LAB is the lab's directory and the mark of being inside.
lab_enter()
{
    if [ -n "${SEKISHO_LAB:-}" ] && [ $$ -eq 1 ]; then
        lab=$SEKISHO_LAB
        lab_inside
        return 0
    fi
    [ "$(id -u)" -eq 0 ] || lab_fail "this must be run as root: it makes a network of its own"
    local tool
    for tool in unshare setpriv ip postfix dovecot smtp-sink openssl python3 sqlite3; do
        command -v $tool >/dev/null || lab_fail "$tool is not installed"
    done
    lab=$(mktemp -d /tmp/sekisho-lab.XXXXXX) || lab_fail "no directory in /tmp"
    chmod 755 "$lab"
    lab_unshare=0
    trap 'lab_outside_end' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    SEKISHO_LAB=$lab unshare --net --mount --pid --fork --kill-child -- bash "$@" &
    lab_unshare=$!
    wait $lab_unshare
    exit $?
}

# Outside: unshare was started with --kill-child, so its end is the end of the namespace.
lab_outside_end()
{
    local rc=$?
    trap - EXIT HUP INT TERM
    if [ "$lab_unshare" -gt 0 ]; then
        kill -KILL "$lab_unshare" 2>/dev/null
        wait "$lab_unshare" 2>/dev/null
    fi
    rm -rf "$lab"
    exit $rc
}

lab_inside()
{
    # The old /proc still tells the number that this process has outside.
    read -r lab_outside_pid _ </proc/self/stat
    mount -t proc proc /proc || lab_fail "cannot mount /proc"
    if ! ip link set lo up || ! ip addr add $lab_server4/32 dev lo ||
        ! ip route add local 0.0.0.0/0 dev lo; then
        lab_fail "cannot make every IPv4 address local"
    fi
    lab_ipv6=no
    if [ -e /proc/sys/net/ipv6/ip_nonlocal_bind ] &&
        echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind &&
        ip -6 addr add $lab_server6/128 dev lo nodad 2>/dev/null &&
        ip -6 route add local ::/0 dev lo 2>/dev/null; then
        lab_ipv6=yes
    fi
    trap 'exit 141' PIPE        # the first process of a namespace ignores what it does not catch
    umask 022
    lab_conf=$lab/postfix lab_queue=$lab/queue lab_sink=$lab/sink lab_mail=$lab/mail
    lab_policy=$lab/policy.db lab_state=$lab/state/state.db lab_log=$lab/sekisho.log
    lab_maillog=$lab/postfix.log
    lab_sekisho_pid=
}

# ---------------------------------------------------------------- Postfix

lab_logins="taro hanako postmaster abuse"       # the password of each is NAME-secret

lab_write_postfix()
{
    local user
    mkdir -p "$lab_conf" "$lab_queue/etc" "$lab_queue/sekisho" "$lab/data" "$lab_sink" "$lab_mail"
    chown postfix "$lab/data" "$lab_sink"
    chown nobody "$lab_mail"
    chown postfix:postfix "$lab_queue/sekisho"
    chmod 750 "$lab_queue/sekisho"
    # What a chrooted process wants to see; Debian copies the same into its own queue directory.
    for user in localtime nsswitch.conf services hosts; do
        cp -L /etc/$user "$lab_queue/etc/" 2>/dev/null
    done
    cp -L /etc/resolv.conf "$lab_queue/etc/" 2>/dev/null

    openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj /CN=mail.example.jp \
        -keyout "$lab_conf/key.pem" -out "$lab_conf/cert.pem" 2>/dev/null ||
        lab_fail "openssl made no certificate"
    chmod 600 "$lab_conf/key.pem"

    for user in $lab_logins; do echo "$user@example.jp $user/"; done >"$lab_conf/mailboxes"
    cat >"$lab_conf/aliases_virtual" <<-END
	forwarded@example.jp someone@far.example
	alias.example anything
	info@alias.example taro@example.jp
	END
    for user in $lab_logins; do echo "$user $user@example.jp"; done >"$lab_conf/aliases_local"
    for user in $lab_logins; do echo "$user local"; done >"$lab_conf/local_recipients"

    # The site as it would be without sekisho, and then the very lines that are shipped.
    cat >"$lab_conf/main.cf" <<-END
	compatibility_level = 3.6
	queue_directory = $lab_queue
	data_directory = $lab/data
	maillog_file = $lab_maillog
	maillog_file_prefixes = $lab
	myhostname = mail.example.jp
	mydomain = example.jp
	myorigin = example.jp
	mydestination = mail.example.jp, localhost
	inet_interfaces = all
	inet_protocols = $([ "$lab_ipv6" = yes ] && echo all || echo ipv4)
	mynetworks = 127.0.0.0/8 [::1]/128
	local_recipient_maps = texthash:$lab_conf/local_recipients
	alias_maps = texthash:$lab_conf/aliases_local
	alias_database =
	virtual_mailbox_domains = example.jp
	virtual_mailbox_maps = texthash:$lab_conf/mailboxes
	virtual_mailbox_base = $lab_mail
	virtual_uid_maps = static:$(id -u nobody)
	virtual_gid_maps = static:$(id -g nobody)
	virtual_alias_domains = alias.example
	virtual_alias_maps = texthash:$lab_conf/aliases_virtual
	relay_domains = backup.example
	relay_recipient_maps =
	default_transport = smtp:[127.0.0.1]:2525
	relay_transport = smtp:[127.0.0.1]:2525
	recipient_delimiter = +
	disable_dns_lookups = yes
	smtpd_peername_lookup = no
	smtpd_sasl_type = dovecot
	smtpd_sasl_path = private/auth
	smtpd_tls_cert_file = $lab_conf/cert.pem
	smtpd_tls_key_file = $lab_conf/key.pem
	smtpd_tls_security_level = may
	END
    cat "$lab_here/main.cf.sekisho" >>"$lab_conf/main.cf"
    # Debian's stock services, smtpd chrooted.
    # as a site with a content filter has it: with the re-injection service
    { cat /usr/share/postfix/master.cf.dist &&
        sed '/^#127\.0\.0\.1:10026/,$ s/^#//' "$lab_here/master.cf.sekisho"; } >"$lab_conf/master.cf" ||
        lab_fail "no stock master.cf"
    timeout 60 postfix -c "$lab_conf" check || lab_fail "Postfix does not like its configuration"
}

lab_start_postfix()
{
    timeout 60 postfix -c "$lab_conf" start </dev/null >>"$lab/start.log" 2>&1 ||
        { cat "$lab/start.log" >&2; lab_fail "Postfix did not start"; }
    lab_wait_port 127.0.0.1 25 || { tail "$lab_maillog" >&2; lab_fail "nobody on port 25"; }
}

lab_reload_postfix()
{
    timeout 60 postfix -c "$lab_conf" reload </dev/null >>"$lab/start.log" 2>&1
    sleep 1
}

# ---------------------------------------------------------------- Dovecot (logins) and the sink

lab_start_dovecot()
{
    local user
    mkdir -p "$lab/dovecot"
    for user in $lab_logins; do echo "$user:{PLAIN}$user-secret"; done >"$lab/dovecot/passwd"
    cat >"$lab/dovecot/dovecot.conf" <<-END
	base_dir = $lab/dovecot/run
	state_dir = $lab/dovecot/state
	log_path = $lab/dovecot.log
	protocols =
	ssl = no
	auth_mechanisms = plain login
	disable_plaintext_auth = no
	passdb {
	  driver = passwd-file
	  args = scheme=PLAIN $lab/dovecot/passwd
	}
	userdb {
	  driver = static
	  args = uid=nobody gid=nogroup home=$lab_mail/%u
	}
	service auth {
	  unix_listener $lab_queue/private/auth {
	    mode = 0660
	    user = postfix
	    group = postfix
	  }
	}
	END
    # what a test wants beside
    [ -z "${lab_dovecot:-}" ] || printf '%s\n' "$lab_dovecot" >>"$lab/dovecot/dovecot.conf"
    mkdir -p "$lab/dovecot/run" "$lab/dovecot/state"
    dovecot -F -c "$lab/dovecot/dovecot.conf" </dev/null >>"$lab/start.log" 2>&1 &
    lab_until 10 test -S "$lab_queue/private/auth" ||
        { cat "$lab/start.log" "$lab/dovecot.log" >&2; lab_fail "Dovecot did not start"; }
}

# All mail that leaves Postfix becomes one file a message in $lab_sink, envelope in X- lines.
lab_start_sink()
{
    smtp-sink -u postfix -d "$lab_sink/%s." 127.0.0.1:2525 100 </dev/null >>"$lab/start.log" 2>&1 &
    lab_wait_port 127.0.0.1 2525 || lab_fail "no sink"
}

lab_sink_count() { find "$lab_sink" -type f | wc -l; }

# lab_sink_list: "SENDER -> RECIPIENT ..." for each message that got out
lab_sink_list()
{
    find "$lab_sink" -type f -exec awk '
        FNR == 1 { if (line) print line; line = "" }
        /^X-Mail-Args: / { line = $2 " ->" }
        /^X-Rcpt-Args: / { line = line " " $2 }
        END { if (line) print line }' {} + | sort
}

# lab_mailbox_count USER: what was delivered to a local mailbox
lab_mailbox_count() { find "$lab_mail/$1/new" -type f 2>/dev/null | wc -l; }

lab_queue_empty() { [ -z "$(timeout 10 postqueue -c "$lab_conf" -j 2>/dev/null)" ]; }

# Everything that Postfix took has arrived somewhere.
lab_settle() { lab_until 30 lab_queue_empty; }

# ---------------------------------------------------------------- sekisho

lab_sql() { timeout 10 sqlite3 -bail "$lab_policy" "$@"; }

lab_write_policy()
{
    timeout 20 "$lab_build/ctl/sekisho" --policy "$lab_policy" init \
        --domain example.jp --hostname mail.example.jp </dev/null >>"$lab/start.log" 2>&1 ||
        { cat "$lab/start.log" >&2; lab_fail "sekisho init failed"; }
    lab_sql <<-'END' || lab_fail "the example rows were refused"
	INSERT INTO local_domain(domain, mail_from, note)
	    VALUES ('alias.example', 'ours', 'virtual aliases'),
	           ('backup.example', 'anyone', 'we are their backup MX');
	INSERT INTO client_host(range, note) VALUES ('192.0.2.0/28', 'office');
	INSERT INTO exemption(range, "check", note)
	    VALUES ('203.0.113.40', 'sender', 'forwards our own mail back to us');
	END
    # what a test wants otherwise
    [ -z "${lab_rows:-}" ] || lab_sql "$lab_rows" || lab_fail "the rows of the test were refused"
    chown root:postfix "$lab_policy"
    chmod 640 "$lab_policy"
}

# The daemon gets no right that it does not need; the lab creates no user for it, so it runs as
# postfix. On a real machine it has a user of its own (contrib/systemd).
lab_start_sekisho()
{
    local door
    mkdir -p "$lab/state"
    chown postfix:postfix "$lab/state"
    : >>"$lab_log"
    setpriv --reuid="$(id -u postfix)" --regid="$(id -g postfix)" --clear-groups -- \
        "$lab_build/milter/sekisho-milter" --policy "$lab_policy" \
        --state "$lab_state" --socket "unix:$lab_queue/sekisho/milter.sock" \
        --permit "unix:$lab_queue/sekisho/permit.sock" --stderr </dev/null >>"$lab_log" 2>&1 &
    lab_sekisho_pid=$!
    for door in milter permit; do
        lab_until 10 lab_listens "$lab_queue/sekisho/$door.sock" ||
            { tail -n 5 "$lab_log" >&2; lab_fail "sekisho-milter did not open $door.sock"; }
    done
}

# A socket file may be left over from an instance that was killed; the kernel's list knows better.
lab_listens() { awk -v path="$1" '$4 == "00010000" && $8 == path { f = 1 } END { exit !f }' /proc/net/unix; }

lab_stop_sekisho()
{
    [ -n "$lab_sekisho_pid" ] || return 0
    kill -TERM "$lab_sekisho_pid" 2>/dev/null
    lab_until 15 lab_sekisho_gone ||
        { kill -KILL "$lab_sekisho_pid"; echo "lab: sekisho-milter did not stop in 15 s" >&2; }
    wait "$lab_sekisho_pid" 2>/dev/null
    lab_sekisho_status=$?
    lab_sekisho_pid=
    return 0
}

# lab_decision_since BYTES: reason and number of the last pass in the log after so many bytes
lab_decision_since()
{
    tail -c +$(($1 + 1)) "$lab_log" |
        sed -nE 's/^.* decision=([0-9]+) action=[a-z]+ reason=(pass-[a-z-]+) .*$/\2 \1/p' | tail -n 1
}

lab_sekisho_gone()
{
    local state
    [ -r "/proc/$lab_sekisho_pid/stat" ] || return 0
    read -r _ _ state _ <"/proc/$lab_sekisho_pid/stat" || return 0
    [ "$state" = Z ]
}

# ---------------------------------------------------------------- all of it

lab_start()
{
    lab_build=$1
    [ -x "$lab_build/milter/sekisho-milter" ] ||
        lab_fail "$lab_build/milter/sekisho-milter is not built"
    [ -x "$lab_build/ctl/sekisho" ] || lab_fail "$lab_build/ctl/sekisho is not built"
    lab_write_postfix
    lab_write_policy
    lab_start_sekisho
    lab_start_sink
    lab_start_postfix
    lab_start_dovecot
}

# lab_session --source ADDRESS [OPTION...] STEP...: JSON lines, see session.py
lab_session()
{
    local server=$lab_server4 before="" argument
    for argument in "$@"; do
        [[ $before == --source && $argument == *:* ]] && server=$lab_server6
        before=$argument
    done
    timeout 180 "$lab_python" "$lab_here/session.py" --server "$server" "$@" </dev/null
}

# lab_until SECONDS COMMAND...: until the command says yes; no after so many seconds
lab_until()
{
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

lab_port_open() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }
lab_wait_port() { lab_until 15 lab_port_open "$1" "$2"; }
