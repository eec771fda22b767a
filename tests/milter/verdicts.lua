-- Every kind of sender gets its verdict at RCPT, and the stages before it get no answer.
-- SPDX-License-Identifier: BSD-2-Clause
dofile(lib)

conn = open(stranger)
for name, flag in pairs({connect = SMFIP_NR_CONN, helo = SMFIP_NR_HELO, mail = SMFIP_NR_MAIL, data = SMFIP_NR_DATA,
                         headers = SMFIP_NOHDRS, eoh = SMFIP_NOEOH, body = SMFIP_NOBODY, rcpt_rej = SMFIP_RCPT_REJ}) do
    same("asked for " .. name, mt.test_option(conn, flag), true)
end
for name, flag in pairs({rcpt = SMFIP_NR_RCPT, no_helo = SMFIP_NOHELO, no_mail = SMFIP_NOMAIL, no_rcpt = SMFIP_NORCPT,
                         no_connect = SMFIP_NOCONNECT}) do
    same("not asked for " .. name, mt.test_option(conn, flag), false)
end
for name, action in pairs({body = SMFIF_CHGBODY, headers = SMFIF_ADDHDRS, rcpt = SMFIF_ADDRCPT,
                           quarantine = SMFIF_QUARANTINE}) do
    same("no right to change " .. name, mt.test_action(conn, action), false)
end
mt.helo(conn, "client.example")
mail(conn, "<a@far.example>")
same("stranger to remote", rcpt(conn, far), "relay-denied")
same("stranger to local", rcpt(conn, here), "pass-local")
same("percent hack", rcpt(conn, "<hanako%elsewhere.example@example.jp>"), "address-routed")
same("source route", rcpt(conn, "<@example.jp:saburo@elsewhere.example>"), "address-routed")
same("bang path", rcpt(conn, "<elsewhere.example!hanako@example.jp>"), "address-routed")
same("a refusal before does not end the message", rcpt(conn, "<jiro@example.jp>"), "pass-local")
same("bare postmaster", rcpt(conn, "<postmaster>"), "pass-local")
mt.disconnect(conn)

conn = open(stranger)
mt.helo(conn, "mail.example.jp")
mail(conn, "<taro@example.jp>")
same("the attack of 2004: our sender", rcpt(conn, far), "sender-spoofed")
mail(conn, "<a@far.example>")
same("the attack of 2004: our name", rcpt(conn, far), "helo-our-name")
same("our name in HELO, to local", rcpt(conn, here), "helo-our-name")
mt.disconnect(conn)

conn = open(own)
mt.helo(conn, "pc.example.jp")
mail(conn, "<taro@example.jp>")
same("client host to remote", rcpt(conn, far), "pass-client-host")
mt.disconnect(conn)

conn = open(home)
mt.helo(conn, "laptop")
mail(conn, "<taro@example.jp>", "taro@example.jp")
same("login to remote", rcpt(conn, far), "pass-identity")
mail(conn, "<jiro@example.jp>", "taro@example.jp")
same("login with another's sender", rcpt(conn, far), "sender-not-yours")
mail(conn, "<postmaster@example.jp>", "postmaster@example.jp")
same("postmaster's login", rcpt(conn, far), "identity-receive-only")
mail(conn, "<saburo@example.jp>", "saburo@example.jp")
same("a login that may not send", rcpt(conn, here), "identity-may-not-send")
mail(conn, "<shiro@example.jp>", "shiro@example.jp")
same("a login from the wrong host", rcpt(conn, far), "identity-wrong-host")
mt.disconnect(conn)

conn = open(own)
mt.helo(conn, "pc.example.jp")
mail(conn, "<jiro@example.jp>", "taro@example.jp")
same("AUTH wins on a client host", rcpt(conn, far), "sender-not-yours")
mt.disconnect(conn)

conn = open("203.0.113.9")
mt.helo(conn, "listed.example")
mail(conn, "<a@far.example>")
same("listed client", rcpt(conn, here), "client-listed")
same("listed client to abuse", rcpt(conn, "<abuse@example.jp>"), "pass-local")
mt.disconnect(conn)

conn = open("203.0.113.200")
mt.helo(conn, "deferred.example")
mail(conn, "<a@far.example>")
same("deferred client", rcpt(conn, here), "client-deferred")
mt.disconnect(conn)
