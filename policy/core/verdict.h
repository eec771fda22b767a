/* What the judgement answers: action, reason, the row that spoke, and how each check voted. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_VERDICT_H
#define SEKISHO_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

/* The checks in the order of judgement (the array in decide.c is in this order). */
enum check {
    CHECK_ADDRESS,
    CHECK_BLOCK,
    CHECK_LISTED,
    CHECK_IDENTITY,
    CHECK_SENDER,
    CHECK_NULL_SENDER,
    CHECK_HELO,
    CHECK_RELAY,
    CHECK_TRAP,
    CHECK_GATEWAY,
    CHECK_RATE,
    CHECK_COUNT,
    CHECK_NONE = CHECK_COUNT /* spoken outside the order: no policy, too many recipients */
};

enum check_mode { MODE_ENFORCE, MODE_OBSERVE, MODE_OFF };

/* ip_range.verdict, in ascending strictness. */
enum listing { LISTING_NONE, LISTING_ACCEPT, LISTING_TEMPFAIL, LISTING_REJECT };

/* identity.senders. */
enum senders { SENDERS_ANY, SENDERS_OWN, SENDERS_LISTED };

enum action { ACTION_PASS, ACTION_REFUSE, ACTION_DEFER };

/* Whom a limit counts (rate_limit.subject). */
enum subject {
    SUBJECT_CLIENT,
    SUBJECT_IDENTITY,
    SUBJECT_SENDER,
    SUBJECT_EVERYONE,
    SUBJECT_WINDOW, /* a client while it sends by a login window */
    SUBJECT_COUNT
};

/* rate_limit.counts, direction and then. */
enum counts { COUNTS_MESSAGES, COUNTS_RECIPIENTS, COUNTS_REFUSALS };
enum direction { DIRECTION_IN, DIRECTION_OUT, DIRECTION_ANY, DIRECTION_COUNT };
enum consequence { THEN_TEMPFAIL, THEN_REJECT, THEN_BLOCK };

/* The tables of policy.db; TABLE_NONE = built in. */
enum table {
    TABLE_NONE,
    TABLE_LOCAL_DOMAIN,
    TABLE_OWN_NAME,
    TABLE_CLIENT_HOST,
    TABLE_IP_RANGE,
    TABLE_EXEMPTION,
    TABLE_IDENTITY,
    TABLE_IDENTITY_SENDER,
    TABLE_IDENTITY_HOST,
    TABLE_RECEIVE_ONLY,
    TABLE_SPAM_TRAP,
    TABLE_RATE_LIMIT,
    TABLE_CHECK_MODE,
    TABLE_SETTING,
    TABLE_COUNT
};

/* Which row spoke: table and its id. */
struct rule {
    enum table table;
    int64_t row;
};

/* Every reason there is. The order is that of reason_table in verdict.c; the names there are
 * what people see and are never changed. */
enum reason {
    REASON_NONE,
    REASON_ADDRESS_MALFORMED,
    REASON_ADDRESS_ROUTED,
    REASON_CLIENT_BLOCKED,
    REASON_IDENTITY_BLOCKED,
    REASON_CLIENT_LISTED,
    REASON_CLIENT_DEFERRED,
    REASON_IDENTITY_RECEIVE_ONLY,
    REASON_IDENTITY_UNKNOWN,
    REASON_IDENTITY_MAY_NOT_SEND,
    REASON_IDENTITY_WRONG_HOST,
    REASON_SENDER_NOT_YOURS,
    REASON_SENDER_SPOOFED,
    REASON_SENDER_NULL,
    REASON_HELO_OUR_NAME,
    REASON_RELAY_DENIED,
    REASON_RELAY_SUSPENDED,
    REASON_SPAM_TRAP,
    REASON_GATEWAY_SUSPECTED,
    REASON_RATE_CLIENT,
    REASON_RATE_IDENTITY,
    REASON_RATE_SENDER,
    REASON_RATE_EVERYONE,
    REASON_RATE_LOGIN_WINDOW,
    REASON_NO_POLICY,
    REASON_NO_RECORD,
    REASON_TOO_MANY_RECIPIENTS,
    REASON_INTERNAL_ERROR,
    REASON_PASS_LOCAL,
    REASON_PASS_IDENTITY,
    REASON_PASS_CLIENT_HOST,
    REASON_PASS_LOGIN_WINDOW,
    REASON_PASS_SUBMISSION,
    REASON_COUNT
};

/* What a reason means. Texts are ASCII; `reply` is what the client reads. */
struct reason_row {
    const char *name;
    enum action action;
    const char *code;     /* reply code, RFC 5321 4.2.3; "" for a pass */
    const char *enhanced; /* enhanced status code, RFC 3463, 5248, 7372 */
    const char *reply;    /* of rate reasons: when to come again is added */
    const char *cause;    /* for the administrator: why this is answered */
    const char *remedy;   /* for the administrator: what to do about it */
};

/* How one check voted, for explain and the log. */
enum vote {
    VOTE_NOT_ASKED, /* the judgement had ended before, or this check does not concern the case */
    VOTE_OFF,       /* check_mode off */
    VOTE_NO_OPINION,
    VOTE_REFUSE,
    VOTE_DEFER,
    VOTE_EXEMPT,  /* would have refused or deferred, an exemption row spared it */
    VOTE_OBSERVED /* would have refused or deferred, and is only observed */
};

struct trail_step {
    enum vote vote;
    enum reason reason;    /* what it said or would have said */
    struct rule rule;      /* the row it read */
    struct rule exemption; /* of VOTE_EXEMPT */
};

/* Who sends. */
enum sender_kind { KIND_STRANGER, KIND_CLIENT_HOST, KIND_LOGIN, KIND_WINDOW, KIND_SUBMISSION };

/* A limit as it stood at the judgement. */
struct limit_seen {
    struct rule rule; /* the rate_limit row; TABLE_NONE = no limit concerned the case */
    enum subject subject;
    enum counts counts;
    uint64_t count;   /* before this recipient */
    uint64_t allowed; /* in so many seconds: */
    int64_t seconds;
    int64_t wait; /* ms until one more passes; 0 = now */
};

/* A value: no heap, may be copied. */
struct verdict {
    enum action action;
    enum reason reason;
    enum check check; /* the check that spoke; CHECK_NONE for a pass */
    struct rule rule;
    enum sender_kind kind;
    bool recipient_local;
    bool observed; /* a check that is only observed would have refused or deferred: */
    enum reason observed_reason;
    struct rule observed_rule;
    struct limit_seen limit; /* the limit that spoke, of a pass the one that is nearest */
    struct trail_step trail[CHECK_COUNT];
};

/* The row of a reason; never NULL for a reason of the enum. */
const struct reason_row *reason_row(enum reason reason);
/* The reason of that name, or REASON_NONE. */
enum reason reason_named(const char *name);

const char *check_name(enum check check);    /* "null-sender" ...; "" for CHECK_NONE */
const char *table_name(enum table table);    /* "ip_range" ...; "" for TABLE_NONE */
const char *action_name(enum action action); /* accept, reject, tempfail */
const char *
kind_name(enum sender_kind kind); /* stranger, client-host, login, login-window, submission */
const char *
subject_name(enum subject subject);          /* client, identity, sender, everyone, login-window */
const char *counts_name(enum counts counts); /* messages, recipients, refusals */
/* The check of that name, or CHECK_NONE; the table, or TABLE_NONE; the subject, or SUBJECT_COUNT.
 */
enum check check_named(const char *name);
enum table table_named(const char *name);
enum subject subject_named(const char *name);
/* False: nothing has that name. */
bool action_named(const char *name, enum action *action);
bool kind_named(const char *name, enum sender_kind *kind);
bool counts_named(const char *name, enum counts *counts);

#endif
