dnl The lines of sendmail.mc that put sekisho between Sendmail and relaying.
dnl SPDX-License-Identifier: BSD-2-Clause
dnl
dnl Copy this file to /etc/mail/sekisho.m4, put
dnl       include(`/etc/mail/sekisho.m4')dnl
dnl at the end of /etc/mail/sendmail.mc (not of submit.mc), then "make -C /etc/mail" and restart Sendmail.
dnl Take out of sendmail.mc what opens the relay: FEATURE(promiscuous_relay), TRUST_AUTH_MECH, and RELAY in
dnl the access map. Who may relay is written in policy.db (client_host, identity) and nowhere else. What is
dnl a domain of ours both must know: a local_domain row, and class w, VIRTUSER_DOMAIN or (backup MX)
dnl RELAY_DOMAIN here.
dnl
dnl Sendmail makes one recipient of all that virtusertable leads to the same place, and if the filter refused
dnl one of two such addresses in a message, nobody would get it. So when the first was accepted the second is
dnl too, as the same copy of the mail. This holds for addresses in a local_domain; do not let an entry lead to
dnl an address elsewhere to which people also write directly.
dnl
dnl The filter: judges every recipient. F=T: with the filter away there is no yes, only "try later";
dnl without F=T Sendmail would go on without it.
INPUT_MAIL_FILTER(`sekisho', `S=unix:/run/sekisho/milter.sock, F=T, T=C:5s;S:5s;R:5s;E:5s')dnl
dnl
dnl The permit door: the only one who can say yes to relaying. -f: or Sendmail makes small letters of the
dnl key; -d5s: or it would wait 30 s for a door that hangs; -T: what a lookup says when there is no door.
LOCAL_CONFIG
Ksekisho socket -f -d5s -T<TMPF> unix:/run/sekisho/permit.sock
dnl
dnl A recipient that Sendmail calls its own (Rcpt_ok) passes to the filter. For all others the door is
dnl asked, and whatever it does not permit is refused in its words. So the relay stays shut when the
dnl filter is taken out, and when the door is away inbound mail goes on while relaying gets 451.
dnl Where TRUST_AUTH_MECH or RELAY has stayed in all the same, the door is asked nevertheless.
dnl What is not from the network (sendmail -bs: no address, or 0) is not refused.
LOCAL_RULESETS
SLocal_check_rcpt
R$*			$: $1 $| <$&{client_addr}>
R$* $| <>		$@ submission
R$* $| <0>		$@ submission
R$* $| <$*>		$: $1 $| $>"Rcpt_ok" $1
R$* $| RELAY		$@ ours
R$* $| OK		$@ ours
R$* $| $#error $*	$#error $2
R$* $| $#TEMP $*	$#error $2
R$* $| $#discard $*	$#discard $2
R$* $| $*		$: <?> $(sekisho $&{client_addr}|$&{auth_authen}|$&f|$1 $: <TMPF> $)
R<?> yes		$#OK
R<?> $- $-.$-.$- $+	$#error $@ $2.$3.$4 $: $5
R$*			$#error $@ 4.3.0 $: "451 Cannot ask whether this may be relayed, please try again later"
