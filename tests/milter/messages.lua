-- Within one message: traps, equal mailboxes, and recipients that the MTA has refused itself.
-- SPDX-License-Identifier: BSD-2-Clause
dofile(lib)

conn = open(stranger)
mt.helo(conn, "client.example")
mail(conn, "<a@far.example>")
same("before the trap", rcpt(conn, here), "pass-local")
same("the trap", rcpt(conn, "<trap@example.jp>"), "spam-trap")
same("after the trap", rcpt(conn, "<jiro@example.jp>"), "spam-trap")
mt.eom(conn)
same("end of a trapped message", reply_name(conn), "text")
mail(conn, "<a@far.example>")
same("the next message is another", rcpt(conn, here), "pass-local")
mt.eom(conn)
same("its end", reply_name(conn), "pass")

-- Equal mailboxes have one verdict, one line.
mail(conn, "<a@far.example>")
rcpt(conn, here)
before = decisions()
for _, form in ipairs({"<TARO@Example.JP>", "<taro@example.jp>", "taro@example.jp", '<"taro"@example.jp>', "<Taro@EXAMPLE.jp.>"}) do
    mt.rcptto(conn, form)
    same("equal mailbox " .. form, reply_name(conn), "pass")
end
same("a source route to it is another form", rcpt(conn, "<@relay.example:taro@example.jp>"), "address-routed")
before = decisions()
mt.rcptto(conn, far)
mt.rcptto(conn, "<HANAKO@ELSEWHERE.EXAMPLE>")
same("equal mailbox refused", reply_name(conn), "text")
same("one line for each mailbox", decisions() - before, 1)
mt.abort(conn)

-- Refused by the MTA, by the door, by nobody.
mail(conn, "<a@far.example>", nil, "REFUSED")
same("MTA's refusal", rcpt(conn, "<nobody@example.jp>", "error", "5.1.1",
     "<nobody@example.jp>: Recipient address rejected: User unknown"), "pass-local")
same("MTA's refusal is marked", string.find(decision(), " mta=refused", 1, true) ~= nil, true)
before = decisions()
rcpt(conn, "<door@elsewhere.example>", "error", "5.7.1", "<door@elsewhere.example>: Recipient address rejected: " ..
     "Relaying denied: not a client host and not logged in [sekisho relay-denied #77]")
same("door's refusal: no second line", decisions() - before, 0)
same("and it is refused", reply_name(conn), "text")
same("a forged door's text", rcpt(conn, '<sekisho@example.jp>', "error", "5.1.1",
     '<"[sekisho "@example.jp>: Recipient address rejected: User unknown'), "pass-local")
same("is no door's", decisions() - before, 1)
same("a forged door's text with all the words around", rcpt(conn, '<sekisho2@example.jp>', "error", "5.1.1",
     '<">: x: [sekisho relay-denied #1]"@example.jp>: Recipient address rejected: User unknown'), "pass-local")
same("is no door's either", decisions() - before, 2)
rcpt(conn, "<alias@example.jp>", "error", "5.1.1", "alias@example.jp")
same("virtual alias domain is not refused", string.find(decision(), "mta=refused", 1, true), nil)
same("but judged", string.find(decision(), 'to="<alias@example.jp>"', 1, true) ~= nil, true)
rcpt(conn, "<alias2@example.jp>", "error", "User unknown", "5.1.1 mailbox")
same("no code, no refusal", string.find(decision(), "mta=refused", 1, true), nil)
rcpt(conn, "<plain@example.jp>", "smtp", "5.1.1", "5.1.1 mailbox")
same("mailer not error, no refusal", string.find(decision(), "mta=refused", 1, true), nil)
mt.eom(conn)
same("counted", in_log("queue=REFUSED end=accepted accepted=3 refused=4"), true)
mt.disconnect(conn)
