/* The table of reasons, and the names of everything the judgement speaks of. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/verdict.h"

#include <string.h>

static const struct reason_row reason_table[REASON_COUNT] = {
    [REASON_NONE] = {"none", ACTION_DEFER, "451", "4.3.0", "No answer", "no answer was made", ""},
    [REASON_ADDRESS_MALFORMED] =
        {"address-malformed", ACTION_REFUSE, "550", "5.1.3",
         "Address cannot be read in one way only",
         "The sender's or the recipient's address has no single reading: broken brackets or "
         "quotes, "
         "control characters, two bare @, an impossible domain, or more than 320 octets.",
         "The sender must correct the address. Nothing in the tables changes this answer."},
    [REASON_ADDRESS_ROUTED] =
        {"address-routed", ACTION_REFUSE, "550", "5.7.1",
         "Source routes and %, ! or @ in a local part are not followed",
         "A stranger's recipient carries a source route or a routing character: the usual ways to "
         "make a "
         "server relay by the back door.",
         "A person who means a mailbox here writes it without a route. Own machines belong in "
         "client_host, people log in."},
    [REASON_CLIENT_BLOCKED] =
        {"client-blocked", ACTION_REFUSE, "550", "5.7.1", "This client is blocked for a time",
         "A limit, a trap or the administrator has blocked this client address.",
         "Find out why (sekisho block list), mend it, then lift the block."},
    [REASON_IDENTITY_BLOCKED] =
        {"identity-blocked", ACTION_REFUSE, "550", "5.7.1", "This login is blocked for a time",
         "A limit, a trap or the administrator has blocked this login: its password may be stolen.",
         "Change the password, look at what was sent, then lift the block."},
    [REASON_CLIENT_LISTED] =
        {"client-listed", ACTION_REFUSE, "550", "5.7.1", "This client address is refused here",
         "The narrowest row of ip_range that holds the client says reject.",
         "Narrow or remove that row, or add a narrower one with verdict accept, or an exemption."},
    [REASON_CLIENT_DEFERRED] =
        {"client-deferred", ACTION_DEFER, "450", "4.7.1",
         "This client address is deferred here, try again later",
         "The narrowest row of ip_range that holds the client says tempfail.",
         "Narrow or remove that row, or add a narrower one with verdict accept, or an exemption."},
    [REASON_IDENTITY_RECEIVE_ONLY] =
        {"identity-receive-only", ACTION_REFUSE, "550", "5.7.1", "This login only receives mail",
         "The login is the name of a receive_only address: such accounts receive, always, and "
         "never send.",
         "Send with a personal login; an identity_sender row lets it use that address as sender."},
    [REASON_IDENTITY_UNKNOWN] =
        {"identity-unknown", ACTION_REFUSE, "550", "5.7.1", "This login is not known here",
         "No identity row names the login and there is no row * that speaks for the others.",
         "Add an identity row for it. If the MTA adds a realm, set login_realm."},
    [REASON_IDENTITY_MAY_NOT_SEND] =
        {"identity-may-not-send", ACTION_REFUSE, "550", "5.7.1", "This login may not send mail",
         "The identity row that speaks for the login has may_send 0.",
         "Set may_send to 1 in that row, or add a row for this login."},
    [REASON_IDENTITY_WRONG_HOST] =
        {"identity-wrong-host", ACTION_REFUSE, "550", "5.7.1",
         "This login may not send from this client address",
         "identity_host rows exist for the login and none in force holds the client.",
         "Add an identity_host row for that address, or remove the rows: none means anywhere."},
    [REASON_SENDER_NOT_YOURS] =
        {"sender-not-yours", ACTION_REFUSE, "550", "5.7.1",
         "This login may not use this sender address",
         "The sender is neither the login's own address nor in its identity_sender rows.",
         "Add an identity_sender row, or set senders to any in the identity row."},
    [REASON_SENDER_SPOOFED] =
        {"sender-spoofed", ACTION_REFUSE, "550", "5.7.1",
         "This sender address is ours: log in to use it",
         "A stranger uses a sender of a local domain, or a receive-only address. A local address "
         "in "
         "MAIL FROM is no proof of anything.",
         "Staff log in. A forwarder, list or service that sends in our name gets an exemption row "
         "for the check sender. A domain that also sends elsewhere has mail_from anyone."},
    [REASON_SENDER_NULL] =
        {"sender-null", ACTION_REFUSE, "550", "5.7.1", "A login may not use the empty sender",
         "A logged-in client sends with an empty sender, which belongs to bounces.",
         "Set check_mode of null-sender to observe or off if vacation programs need it."},
    [REASON_HELO_OUR_NAME] =
        {"helo-our-name", ACTION_REFUSE, "550", "5.7.1", "You said HELO with a name of ours",
         "A stranger says our own host name, domain or address in HELO.",
         "A machine of ours belongs in client_host, or gets an exemption row for the check helo."},
    [REASON_RELAY_DENIED] =
        {"relay-denied", ACTION_REFUSE, "550", "5.7.1",
         "Relaying denied: not a client host and not logged in",
         "The recipient is not in a local domain and the client is neither logged in nor in "
         "client_host.",
         "People log in; a machine of ours gets a client_host row; a domain of ours gets a "
         "local_domain row."},
    [REASON_RELAY_SUSPENDED] = {"relay-suspended", ACTION_REFUSE, "550", "5.7.1",
                                "Relaying suspended for this client host",
                                "The client host's right to relay is suspended by a block.",
                                "Find out which machine behind it sends, then lift the block."},
    [REASON_SPAM_TRAP] =
        {"spam-trap", ACTION_REFUSE, "550", "5.7.1", "Message refused",
         "The message has a recipient that nobody should write to (spam_trap).",
         "An exemption row for the check trap spares a client; a wrong trap row is removed."},
    [REASON_GATEWAY_SUSPECTED] =
        {"gateway-suspected", ACTION_REFUSE, "550", "5.7.1",
         "Relaying suspended: many unrelated senders come from this address",
         "Many unrelated HELO names and senders appear behind one trusted address: it is probably "
         "a "
         "NAT or a proxy.",
         "Take the address out of client_host and let the people behind it log in."},
    [REASON_RATE_CLIENT] = {"rate-client", ACTION_DEFER, "450", "4.7.1",
                            "Too much mail from this client",
                            "The client has reached a limit of rate_limit.",
                            "Wait, or raise allowed in the row."},
    [REASON_RATE_IDENTITY] =
        {"rate-identity", ACTION_DEFER, "450", "4.7.1", "Too much mail from this login",
         "The login has reached a limit of rate_limit.",
         "Make sure that it is its owner who sends, then raise allowed in a row for this login."},
    [REASON_RATE_SENDER] = {"rate-sender", ACTION_DEFER, "450", "4.7.1",
                            "Too much mail from this sender",
                            "The sender has reached a limit of rate_limit.",
                            "Wait, or raise allowed in the row."},
    [REASON_RATE_EVERYONE] = {"rate-everyone", ACTION_DEFER, "450", "4.7.1",
                              "Too much mail at the moment",
                              "All mail together has reached a limit of rate_limit.",
                              "Look for what is sending, or raise allowed in the row."},
    [REASON_RATE_LOGIN_WINDOW] = {"rate-login-window", ACTION_DEFER, "450", "4.7.1",
                                  "Too much mail in this login window",
                                  "The login window of this client has used up its budget.",
                                  "Use SMTP AUTH instead of POP-before-SMTP."},
    [REASON_NO_POLICY] =
        {"no-policy", ACTION_DEFER, "451", "4.3.0",
         "Temporary failure: no policy in force, try again later",
         "There is no good policy.db and none was kept: nothing can be permitted.",
         "Run sekisho check and mend what it names; the filter takes the policy up by itself."},
    [REASON_NO_RECORD] =
        {"no-record", ACTION_DEFER, "451", "4.3.0",
         "Temporary failure: decisions cannot be recorded, try again later",
         "The state directory cannot be written, so no decision number can be given.",
         "Free space in the state directory or mend its permissions; the filter goes on by "
         "itself."},
    [REASON_TOO_MANY_RECIPIENTS] =
        {"too-many-recipients", ACTION_DEFER, "452", "4.5.3",
         "Too many recipients in one message, send the rest in another",
         "The message has more recipients than the setting recipients_most.",
         "A proper MTA sends the rest by itself; raise recipients_most if that is not enough."},
    [REASON_INTERNAL_ERROR] =
        {"internal-error", ACTION_DEFER, "451", "4.3.0",
         "Temporary failure of the filter, try again later",
         "The filter had no memory, or the MTA's conversation with it was broken.",
         "Look at the log lines before this one."},
    [REASON_PASS_LOCAL] = {"pass-local", ACTION_PASS, "", "", "",
                           "The recipient is in a local domain and no check objected.", ""},
    [REASON_PASS_IDENTITY] = {"pass-identity", ACTION_PASS, "", "", "",
                              "A login that may send, from where and as whom it may.", ""},
    [REASON_PASS_CLIENT_HOST] = {"pass-client-host", ACTION_PASS, "", "", "",
                                 "The client is in client_host: it may relay without a login.", ""},
    [REASON_PASS_LOGIN_WINDOW] = {"pass-login-window", ACTION_PASS, "", "", "",
                                  "The client has an open login window.", ""},
    [REASON_PASS_SUBMISSION] = {"pass-submission", ACTION_PASS, "", "", "",
                                "Not SMTP: the MTA's own command line, recorded and never refused.",
                                ""},
};

static const char *const check_names[CHECK_COUNT] = {"address", "block",       "listed", "identity",
                                                     "sender",  "null-sender", "helo",   "relay",
                                                     "trap",    "gateway",     "rate"};

static const char *const table_names[TABLE_COUNT] = {
    "",          "local_domain", "own_name",        "client_host",   "ip_range",
    "exemption", "identity",     "identity_sender", "identity_host", "receive_only",
    "spam_trap", "rate_limit",   "check_mode",      "setting"};

const struct reason_row *reason_row(enum reason reason)
{
    return &reason_table[(unsigned)reason < REASON_COUNT ? reason : REASON_NONE];
}

enum reason reason_named(const char *name)
{
    for (unsigned i = REASON_NONE + 1; i < REASON_COUNT; i++) {
        if (strcmp(reason_table[i].name, name) == 0) {
            return (enum reason)i;
        }
    }
    return REASON_NONE;
}

const char *check_name(enum check check)
{
    return (unsigned)check < CHECK_COUNT ? check_names[check] : "";
}

enum check check_named(const char *name)
{
    for (unsigned i = 0; i < CHECK_COUNT; i++) {
        if (strcmp(check_names[i], name) == 0) {
            return (enum check)i;
        }
    }
    return CHECK_NONE;
}

const char *table_name(enum table table)
{
    return (unsigned)table < TABLE_COUNT ? table_names[table] : "";
}

/* The other names; each list in the order of its enum. */
static const char *const action_names[] = {"accept", "reject", "tempfail"};
static const char *const subject_names[SUBJECT_COUNT] = {"client", "identity", "sender", "everyone",
                                                         "login-window"};
static const char *const counts_names[] = {"messages", "recipients", "refusals"};
static const char *const kind_names[] = {"stranger", "client-host", "login", "login-window",
                                         "submission"};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* Where a name stands in its list; count if it is not there. */
static unsigned place_of(const char *name, const char *const *names, unsigned count)
{
    unsigned i = 0;

    while (i < count && strcmp(names[i], name) != 0) {
        i++;
    }
    return i;
}

enum table table_named(const char *name)
{
    unsigned place = place_of(name, table_names, TABLE_COUNT);
    return place < TABLE_COUNT ? (enum table)place : TABLE_NONE;
}

const char *action_name(enum action action)
{
    return action_names[action];
}

bool action_named(const char *name, enum action *action)
{
    unsigned place = place_of(name, action_names, COUNT_OF(action_names));

    if (place < COUNT_OF(action_names)) {
        *action = (enum action)place;
    }
    return place < COUNT_OF(action_names);
}

const char *subject_name(enum subject subject)
{
    return (unsigned)subject < SUBJECT_COUNT ? subject_names[subject] : "";
}

enum subject subject_named(const char *name)
{
    return (enum subject)place_of(name, subject_names, SUBJECT_COUNT);
}

const char *counts_name(enum counts counts)
{
    return (unsigned)counts < COUNT_OF(counts_names) ? counts_names[counts] : "";
}

bool counts_named(const char *name, enum counts *counts)
{
    unsigned place = place_of(name, counts_names, COUNT_OF(counts_names));

    if (place < COUNT_OF(counts_names)) {
        *counts = (enum counts)place;
    }
    return place < COUNT_OF(counts_names);
}

const char *kind_name(enum sender_kind kind)
{
    return kind_names[kind];
}

bool kind_named(const char *name, enum sender_kind *kind)
{
    unsigned place = place_of(name, kind_names, COUNT_OF(kind_names));

    if (place < COUNT_OF(kind_names)) {
        *kind = (enum sender_kind)place;
    }
    return place < COUNT_OF(kind_names);
}
