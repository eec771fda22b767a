/* The smallest edit that would change an answer: written as a line of SQL, and tried in memory. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/address.h"
#include "core/decide.h"
#include "core/jsonl.h"
#include "core/policy_seal.h"
#include "core/proof.h"
#include "counted.h"

enum { COLUMNS_MOST = 12, TRIES_MOST = 3 };

#define NEW_ROW INT64_MAX
#define NEW_ROW_TEXT "9223372036854775807"

/* The kinds of edit there are. */
enum kind {
    EDIT_NONE,
    EDIT_CLIENT_HOST,     /* client_host: the client */
    EDIT_ACCEPT,          /* ip_range: a hole for the client */
    EDIT_REJECT,          /* ip_range: refuses the client */
    EDIT_EXEMPT,          /* exemption: the client from the check that spoke */
    EDIT_EXEMPT_SENDER,   /* the same, for this sender only */
    EDIT_IDENTITY,        /* identity: the login */
    EDIT_IDENTITY_SHUT,   /* identity: the login may not send */
    EDIT_MAY_SEND,        /* the identity row that spoke: may_send */
    EDIT_UNEXPIRE,        /* the identity row of that name: no end */
    EDIT_IDENTITY_HOST,   /* identity_host: the login from here */
    EDIT_IDENTITY_SENDER, /* identity_sender: the login as this sender */
    EDIT_LOCAL_DOMAIN,    /* local_domain: the recipient's */
    EDIT_OBSERVE,         /* check_mode: the check that spoke */
    EDIT_ALLOWED,         /* rate_limit: more is allowed by the row that spoke */
    EDIT_LIFT             /* the block is lifted */
};

/* What may be tried for a reason, the narrowest first. */
static const unsigned char kinds[REASON_COUNT][TRIES_MOST] = {
    [REASON_ADDRESS_ROUTED] = {EDIT_CLIENT_HOST},
    [REASON_CLIENT_LISTED] = {EDIT_ACCEPT, EDIT_EXEMPT},
    [REASON_CLIENT_DEFERRED] = {EDIT_ACCEPT, EDIT_EXEMPT},
    [REASON_IDENTITY_UNKNOWN] = {EDIT_IDENTITY, EDIT_UNEXPIRE},
    [REASON_IDENTITY_MAY_NOT_SEND] = {EDIT_IDENTITY, EDIT_MAY_SEND},
    [REASON_IDENTITY_WRONG_HOST] = {EDIT_IDENTITY_HOST},
    [REASON_SENDER_NOT_YOURS] = {EDIT_IDENTITY_SENDER},
    [REASON_SENDER_SPOOFED] = {EDIT_EXEMPT_SENDER, EDIT_EXEMPT},
    [REASON_SENDER_NULL] = {EDIT_OBSERVE},
    [REASON_HELO_OUR_NAME] = {EDIT_EXEMPT},
    [REASON_RELAY_DENIED] = {EDIT_CLIENT_HOST, EDIT_LOCAL_DOMAIN},
    [REASON_SPAM_TRAP] = {EDIT_EXEMPT},
    [REASON_CLIENT_BLOCKED] = {EDIT_LIFT, EDIT_EXEMPT},
    [REASON_IDENTITY_BLOCKED] = {EDIT_LIFT},
    [REASON_RELAY_SUSPENDED] = {EDIT_LIFT},
    [REASON_RATE_CLIENT] = {EDIT_ALLOWED, EDIT_EXEMPT},
    [REASON_RATE_IDENTITY] = {EDIT_ALLOWED},
    [REASON_RATE_SENDER] = {EDIT_ALLOWED},
    [REASON_RATE_EVERYONE] = {EDIT_ALLOWED},
    [REASON_RATE_LOGIN_WINDOW] = {EDIT_ALLOWED},
    [REASON_PASS_LOCAL] = {EDIT_IDENTITY_SHUT, EDIT_REJECT},
    [REASON_PASS_IDENTITY] = {EDIT_IDENTITY_SHUT, EDIT_REJECT},
    [REASON_PASS_CLIENT_HOST] = {EDIT_REJECT},
};

static const char *const cautions[] = {
    [EDIT_NONE] = "",
    [EDIT_CLIENT_HOST] = "only if it is a machine of yours: it may then relay without a login",
    [EDIT_ACCEPT] = "your own narrower row speaks before the one that refused",
    [EDIT_REJECT] = "this client is then refused",
    [EDIT_EXEMPT] = "this client is then not asked that check any more",
    [EDIT_EXEMPT_SENDER] = "this client is then not asked that check any more for this sender",
    [EDIT_IDENTITY] = "only if it is a login of yours: it may then send as itself",
    [EDIT_IDENTITY_SHUT] = "this login may then not send at all",
    [EDIT_MAY_SEND] = "this login may then send as the row says",
    [EDIT_UNEXPIRE] = "the login's own row is then in force for good",
    [EDIT_IDENTITY_HOST] = "this login may then come from there too",
    [EDIT_IDENTITY_SENDER] = "this login may then use this sender too",
    [EDIT_LOCAL_DOMAIN] = "only if mail for this domain belongs here",
    [EDIT_OBSERVE] = "what this check finds is then only recorded",
    [EDIT_ALLOWED] = "for all whom the row names; sekisho usage reset lets one of them begin anew",
    [EDIT_LIFT] = "what was counted still counts",
};

/* What the edits are made of. */
struct material {
    const struct facts *facts;
    const struct verdict *verdict;
    const struct policy *policy;
    const struct counted *counted;
    char client[IP_TEXT];              /* "" when unknown */
    char login[ADDRESS_PATH_MOST + 1]; /* "" when there is none, or none that a row can hold */
    char sender[ADDRESS_FORM_ROOM];    /* user@domain, "" when there is none */
    char domain[ADDRESS_DOMAIN_ROOM];  /* the recipient's, "" when it is no name */
};

/* One edit: a line of SQL, and for an INSERT the row as the policy would read it. */
struct candidate {
    enum table table; /* TABLE_NONE: no row to try */
    struct cell cells[COLUMNS_MOST];
    char names[128], values[CTL_SQL / 2], sql[CTL_SQL];
    bool fits;
    bool counts;        /* changes what is counted, not a row that is read: */
    struct usage usage; /* as it is then */
};

/* A row's cells before any is named: the defaults of policy.sql. */
static void row_begin(struct candidate *candidate, enum table table)
{
    static const struct {
        enum table table;
        const char *column;
        struct cell cell;
    } defaults[] = {
        {TABLE_LOCAL_DOMAIN, "subdomains", {CELL_INTEGER, 0, "", 0}},
        {TABLE_LOCAL_DOMAIN, "mail_from", {CELL_TEXT, 0, "ours", 4}},
        {TABLE_IP_RANGE, "verdict", {CELL_TEXT, 0, "reject", 6}},
        {TABLE_IP_RANGE, "applies_to", {CELL_TEXT, 0, "strangers", 9}},
        {TABLE_IDENTITY, "may_send", {CELL_INTEGER, 1, "", 0}},
        {TABLE_IDENTITY, "senders", {CELL_TEXT, 0, "own", 3}},
    };
    const char *const *columns = policy_columns(table);

    memset(candidate, 0, sizeof *candidate);
    candidate->table = table;
    candidate->fits = true;
    for (size_t i = 0; columns[i] != NULL && i < COLUMNS_MOST; i++) {
        candidate->cells[i] = (struct cell){CELL_NULL, 0, "", 0};
        for (size_t d = 0; d < sizeof defaults / sizeof defaults[0]; d++) {
            if (defaults[d].table == table && strcmp(defaults[d].column, columns[i]) == 0) {
                candidate->cells[i] = defaults[d].cell;
            }
        }
    }
}

static void append(struct candidate *candidate, char *to, size_t room, const char *text)
{
    size_t used = strlen(to);

    if (used + strlen(text) >= room) {
        candidate->fits = false;
        return;
    }
    memcpy(to + used, text, strlen(text) + 1);
}

static void set_cell(struct candidate *candidate, const char *column, struct cell cell)
{
    const char *const *columns = policy_columns(candidate->table);

    for (size_t i = 0; columns[i] != NULL && i < COLUMNS_MOST; i++) {
        if (strcmp(columns[i], column) == 0) {
            candidate->cells[i] = cell;
        }
    }
    append(candidate, candidate->names, sizeof candidate->names,
           candidate->names[0] != '\0' ? "," : "");
    /* check is a word of SQL */
    append(candidate, candidate->names, sizeof candidate->names,
           strcmp(column, "check") == 0 ? "\"check\"" : column);
    append(candidate, candidate->values, sizeof candidate->values,
           candidate->values[0] != '\0' ? "," : "");
}

/* The text between quotes, as SQL wants it; "" is a value that is not there: no row comes of it. */
static void row_text(struct candidate *candidate, const char *column, const char *text)
{
    char one[2] = "";

    candidate->fits = candidate->fits && text[0] != '\0';
    set_cell(candidate, column, (struct cell){CELL_TEXT, 0, text, strlen(text)});
    append(candidate, candidate->values, sizeof candidate->values, "'");
    for (; *text != '\0'; text++) {
        one[0] = *text;
        append(candidate, candidate->values, sizeof candidate->values, *text == '\'' ? "''" : one);
    }
    append(candidate, candidate->values, sizeof candidate->values, "'");
}

static void row_zero(struct candidate *candidate, const char *column)
{
    set_cell(candidate, column, (struct cell){CELL_INTEGER, 0, "", 0});
    append(candidate, candidate->values, sizeof candidate->values, "0");
}

/* UPDATE of one row that is there; its id, or a column that names it. */
static void change(struct candidate *candidate, enum table table, const char *set, int64_t row)
{
    snprintf(candidate->sql, sizeof candidate->sql, "UPDATE %s SET %s WHERE id=%" PRId64 ";",
             table_name(table), set, row);
    candidate->fits = candidate->fits && row != 0;
}

/* client_host refuses a second row of one range, also when the first has expired. */
static int64_t client_host_row(const struct material *material)
{
    const struct range *range;
    struct rule rule;

    for (size_t i = 0; (range = policy_client_host_range(material->policy, i, &rule)) != NULL;
         i++) {
        if (ip_compare(&range->first, &material->facts->client) == 0 &&
            ip_compare(&range->last, &material->facts->client) == 0) {
            return rule.row;
        }
    }
    return 0;
}

/* One more passes by the row that spoke. */
static void allow_more(const struct material *material, struct candidate *candidate)
{
    const struct limit_seen *seen = &material->verdict->limit;

    candidate->table = TABLE_NONE;
    candidate->counts = true;
    candidate->usage = material->counted->usage;
    candidate->fits = seen->rule.table == TABLE_RATE_LIMIT;
    for (size_t i = 0; i < candidate->usage.limits; i++) {
        struct limit_use *use = &candidate->usage.limit[i];
        if (use->limit.rule.row == seen->rule.row) {
            use->limit.allowed = use->count + 1;
            use->wait = 0;
        }
    }
    snprintf(candidate->sql, sizeof candidate->sql,
             "UPDATE rate_limit SET allowed=%" PRIu64 " WHERE id=%" PRId64 ";", seen->count + 1,
             seen->rule.row);
}

static void lift(const struct material *material, struct candidate *candidate)
{
    char subject[SUBJECT_TEXT];
    enum reason reason = material->verdict->reason;

    counted_subject(material->counted, reason, subject);
    candidate->table = TABLE_NONE;
    candidate->counts = true;
    candidate->usage = material->counted->usage;
    candidate->fits = subject[0] != '\0' && strpbrk(subject, " '\"\\$`!*?[]<>|;&(){}~#") == NULL;
    if (reason == REASON_IDENTITY_BLOCKED) {
        candidate->usage.identity.blocked = false;
    } else if (strncmp(subject, "relay:", 6) == 0) {
        candidate->usage.relay.blocked = false;
    } else {
        candidate->usage.client.blocked = false;
    }
    snprintf(candidate->sql, sizeof candidate->sql, "sekisho block lift %s", subject);
}

static void make(const struct material *material, enum kind kind, struct candidate *candidate)
{
    static const enum table tables[] = {
        [EDIT_NONE] = TABLE_CLIENT_HOST,
        [EDIT_CLIENT_HOST] = TABLE_CLIENT_HOST,
        [EDIT_ACCEPT] = TABLE_IP_RANGE,
        [EDIT_REJECT] = TABLE_IP_RANGE,
        [EDIT_EXEMPT] = TABLE_EXEMPTION,
        [EDIT_EXEMPT_SENDER] = TABLE_EXEMPTION,
        [EDIT_IDENTITY] = TABLE_IDENTITY,
        [EDIT_IDENTITY_SHUT] = TABLE_IDENTITY,
        [EDIT_MAY_SEND] = TABLE_IDENTITY,
        [EDIT_UNEXPIRE] = TABLE_IDENTITY,
        [EDIT_IDENTITY_HOST] = TABLE_IDENTITY_HOST,
        [EDIT_IDENTITY_SENDER] = TABLE_IDENTITY_SENDER,
        [EDIT_LOCAL_DOMAIN] = TABLE_LOCAL_DOMAIN,
        [EDIT_OBSERVE] = TABLE_CHECK_MODE,
        [EDIT_ALLOWED] = TABLE_RATE_LIMIT,
        [EDIT_LIFT] = TABLE_CLIENT_HOST,
    };
    struct rule rule = material->verdict->rule;
    int64_t row;

    row_begin(candidate, tables[kind]);
    switch (kind) {
    case EDIT_NONE:
        candidate->fits = false;
        return;
    case EDIT_CLIENT_HOST:
        row_text(candidate, "range", material->client);
        row = material->client[0] != '\0' ? client_host_row(material) : 0;
        if (row != 0) {
            change(candidate, TABLE_CLIENT_HOST, "expires=NULL", row);
            return;
        }
        break;
    case EDIT_ACCEPT:
    case EDIT_REJECT:
        row_text(candidate, "range", material->client);
        row_text(candidate, "verdict", kind == EDIT_ACCEPT ? "accept" : "reject");
        if (material->facts->login.size > 0 && !material->facts->window) {
            row_text(candidate, "applies_to", "everyone");
        }
        break;
    case EDIT_EXEMPT:
    case EDIT_EXEMPT_SENDER:
        row_text(candidate, "range", material->client);
        row_text(candidate, "check", check_name(material->verdict->check));
        if (kind == EDIT_EXEMPT_SENDER) {
            row_text(candidate, "sender", material->sender);
        }
        break;
    case EDIT_IDENTITY:
    case EDIT_IDENTITY_SHUT:
        row_text(candidate, "name", material->login);
        if (kind == EDIT_IDENTITY_SHUT) {
            row_zero(candidate, "may_send");
        }
        break;
    case EDIT_MAY_SEND:
        candidate->table = TABLE_NONE;
        change(candidate, TABLE_IDENTITY, "may_send=1", rule.row);
        return;
    case EDIT_UNEXPIRE:
        row_text(candidate, "name", material->login);
        snprintf(candidate->sql, sizeof candidate->sql,
                 "UPDATE identity SET expires=NULL WHERE name=%s;", candidate->values);
        candidate->table = TABLE_NONE;
        return;
    case EDIT_IDENTITY_HOST:
        row_text(candidate, "identity", material->login);
        row_text(candidate, "range", material->client);
        break;
    case EDIT_IDENTITY_SENDER:
        row_text(candidate, "identity", material->login);
        row_text(candidate, "sender", material->sender);
        break;
    case EDIT_ALLOWED:
        allow_more(material, candidate);
        return;
    case EDIT_LIFT:
        lift(material, candidate);
        return;
    case EDIT_LOCAL_DOMAIN:
        row_text(candidate, "domain", material->domain);
        break;
    case EDIT_OBSERVE:
        policy_check_mode(material->policy, material->verdict->check, &rule);
        if (rule.table == TABLE_CHECK_MODE) {
            candidate->table = TABLE_NONE;
            change(candidate, TABLE_CHECK_MODE, "mode='observe'", rule.row);
            return;
        }
        row_text(candidate, "check", check_name(material->verdict->check));
        row_text(candidate, "mode", "observe");
        break;
    }
    snprintf(candidate->sql, sizeof candidate->sql, "INSERT INTO %s(%s) VALUES(%s);",
             table_name(candidate->table), candidate->names, candidate->values);
}

/* Judges again by the same tables and one row more. STATUS_BAD: the policy would be refused. */
static enum status try_row(const struct ctl_policy *opened, const struct facts *facts,
                           const struct usage *usage, const struct candidate *candidate,
                           struct verdict *after, struct why *why)
{
    struct policy_build *build = NULL;
    struct policy *policy = NULL;
    enum status status = policydb_read(opened->db, NULL, NULL, &build, why);

    if (status == STATUS_OK) {
        status = policy_build_row(build, candidate->table, NEW_ROW, candidate->cells, why);
    }
    if (status == STATUS_OK) {
        status = policy_seal(build, policy_sealed_at(opened->policy), &policy, why);
    }
    if (status == STATUS_OK) {
        status = proof_run(policy, NULL, NULL, NULL, why);
    }
    if (status == STATUS_OK) {
        decide(policy, facts, usage, after);
    }
    policy_free(policy);
    policy_build_free(build);
    return status;
}

/* The new row has no number yet. */
static void unnumber(struct why *why)
{
    char *at = strstr(why->text, NEW_ROW_TEXT);

    if (at != NULL) {
        const char *rest = at + sizeof NEW_ROW_TEXT - 1;
        memcpy(at, "(new)", 5);
        memmove(at + 5, rest, strlen(rest) + 1);
    }
}

static void gather(const struct ctl_policy *opened, const struct facts *facts,
                   const struct verdict *verdict, struct material *material)
{
    struct address address;
    bool writable = facts->login.size <= ADDRESS_PATH_MOST;

    memset(material, 0, sizeof *material);
    material->facts = facts;
    material->verdict = verdict;
    material->policy = opened->policy;
    if (facts->client_known) {
        ip_text(&facts->client, material->client);
    }
    for (size_t i = 0; i < facts->login.size; i++) {
        unsigned char byte = (unsigned char)facts->login.bytes[i];
        writable = writable && byte >= 0x20 && byte != 0x7f;
    }
    /* a client that logs in as * has not become everybody */
    if (writable && strcmp(facts->login.bytes, "*") != 0) {
        snprintf(material->login, sizeof material->login, "%s", facts->login.bytes);
    }
    address_parse(facts->sender.bytes, facts->sender.size, &address);
    if (address.kind == ADDRESS_MAILBOX && address.domain[0] != '\0') {
        snprintf(material->sender, sizeof material->sender, "%s@%s",
                 address_without_batv(address.fold), address.domain);
    }
    address_parse(facts->recipient.bytes, facts->recipient.size, &address);
    if (address.kind == ADDRESS_MAILBOX && !address.literal) {
        snprintf(material->domain, sizeof material->domain, "%s", address.domain);
    }
}

/* It is read on a terminal and copied from there: what it shows must be what it is. */
static bool is_showable(const char *line)
{
    size_t size = strlen(line), length;
    uint32_t character;

    return jsonl_steering(line, size, &character, &length) == size;
}

enum status ctl_edit_find(const struct ctl_policy *opened, const struct facts *facts,
                          const struct counted *counted, const struct verdict *verdict,
                          struct ctl_edit *edit, struct why *why)
{
    struct material material;
    struct candidate candidate;
    struct why refusal = {""};
    enum status found = STATUS_BAD;

    gather(opened, facts, verdict, &material);
    material.counted = counted;
    memset(edit, 0, sizeof *edit);
    why->text[0] = '\0';
    for (size_t n = 0; n < TRIES_MOST; n++) {
        enum kind kind = (enum kind)kinds[verdict->reason][n];
        struct verdict after = *verdict;
        make(&material, kind, &candidate);
        if (!candidate.fits || !is_showable(candidate.sql)) {
            continue;
        }
        bool tried = candidate.table != TABLE_NONE || candidate.counts;
        if (candidate.counts) {
            decide(opened->policy, facts, &candidate.usage, &after);
        } else if (tried) {
            enum status status =
                try_row(opened, facts, &counted->usage, &candidate, &after, &refusal);
            if (status == STATUS_BROKEN) {
                *why = refusal;
                return status;
            }
            if (status != STATUS_OK) {
                if (why->text[0] == '\0') {
                    unnumber(&refusal);
                    why_set(why, status, "%s would be refused: %s", candidate.sql, refusal.text);
                }
                continue;
            }
        }
        if (tried && after.action == verdict->action && after.reason == verdict->reason) {
            continue;
        }
        bool whole = tried && (after.action == ACTION_PASS) != (verdict->action == ACTION_PASS);
        if (found != STATUS_OK || whole) {
            snprintf(edit->sql, sizeof edit->sql, "%s", candidate.sql);
            edit->caution = cautions[kind];
            edit->tried = tried;
            edit->command = kind == EDIT_LIFT;
            edit->after = after;
            found = STATUS_OK;
        }
        if (whole) {
            break;
        }
    }
    return found;
}
