-- What the scripts for miltertest share: one connection as an MTA makes it, and one line a check.
-- SPDX-License-Identifier: BSD-2-Clause
-- Given by -D: sock (the milter's socket), log (the daemon's log).

stranger, home, own = "220.86.126.33", "198.51.100.7", "192.0.2.25"
here, far = "<taro@example.jp>", "<hanako@elsewhere.example>"

function same(what, got, expected)
    if got == expected then
        mt.echo("ok " .. what)
    else
        mt.echo("FAILED " .. what .. ": got '" .. tostring(got) .. "', expected '" .. tostring(expected) .. "'")
    end
end

-- A decision must be in the log before its answer: the last line that names one.
function decision()
    local last = ""
    for line in io.lines(log) do
        if string.find(line, "decision=", 1, true) == string.find(line, "decision") and string.find(line, " at=", 1, true) then
            last = line
        end
    end
    return last
end

function decisions()
    local count = 0
    for line in io.lines(log) do
        if string.find(line, " at=milter ", 1, true) then count = count + 1 end
    end
    return count
end

function in_log(text)
    for line in io.lines(log) do
        if string.find(line, text, 1, true) then return true end
    end
    return false
end

function reply_name(conn)
    local code = mt.getreply(conn)
    if code == SMFIR_CONTINUE then return "pass" end
    if code == SMFIR_REPLYCODE then return "text" end
    return "packet " .. tostring(code)
end

function open(address, name)
    local conn = mt.connect("unix:" .. sock, 40, 0.05)
    if conn == nil then error "no connection" end
    if mt.negotiate(conn, nil, nil, nil) ~= nil then error "no negotiation" end
    mt.macro(conn, SMFIC_CONNECT, "j", "mail.example.jp")
    if mt.conninfo(conn, name or "client.example", address) ~= nil then error "no connect" end
    return conn
end

function mail(conn, sender, login, queue)
    if login then
        mt.macro(conn, SMFIC_MAIL, "i", queue or "Q", "{mail_addr}", sender, "{auth_authen}", login)
    else
        mt.macro(conn, SMFIC_MAIL, "i", queue or "Q", "{mail_addr}", sender)
    end
    if mt.mailfrom(conn, sender) ~= nil then error "no MAIL" end
end

-- "pass", or the reason that stands in the log for this recipient
function rcpt(conn, recipient, mailer, host, addr)
    mt.macro(conn, SMFIC_RCPT, "{rcpt_mailer}", mailer or "smtp", "{rcpt_host}", host or "far",
             "{rcpt_addr}", addr or recipient)
    if mt.rcptto(conn, recipient) ~= nil then return "broken" end
    local said, line = reply_name(conn), decision()
    local reason = string.match(line, " reason=(%S+) ")
    if not string.find(line, 'to="' .. recipient, 1, true) then reason = "another decision" end
    if said == "pass" then
        return string.find(line, " action=accept ", 1, true) and reason or "passed, logged as " .. tostring(reason)
    end
    return said == "text" and reason or said
end
