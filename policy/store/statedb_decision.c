/* Decisions in state.db: written, ended, and read as they were written. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_decision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/stamp.h"
#include "store/decision_row.h"
#include "store/statement.h"

#define COLUMN_MARK(name, comma, sql) comma "?"

const char *const statedb_decision_sql[QUERY_COUNT] = {
    [PUT_DECISION] =
        "INSERT INTO main.decision(" DECISION_COLUMNS(COLUMN_SQL) ") VALUES(" DECISION_COLUMNS(
            COLUMN_MARK) ") ON CONFLICT(number) DO UPDATE SET outcome=excluded.outcome,"
                         " queue_id=ifnull(excluded.queue_id, queue_id)"
                         " WHERE excluded.outcome IS NOT NULL",
    [PUT_END] =
        "UPDATE main.decision SET outcome=?2, queue_id=ifnull(?3, queue_id) WHERE number=?1",
};

static const char *const post_names[] = {"milter", "door"};
static const char *const outcome_names[] = {NULL, "accepted", "rejected", "aborted"};

/* -- writing --------------------------------------------------------------------------------- */

/* UTF-8 (RFC 3629) without NUL? Almost all of it is ASCII: eight octets at a time. */
static bool is_text(const char *bytes, size_t size)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + size;

    while (at < end) {
        uint64_t eight = 0;
        if (end - at >= 8) {
            memcpy(&eight, at, 8);
            /* no octet above 0x7f, and none is 0 */
            if ((eight & UINT64_C(0x8080808080808080)) == 0 &&
                ((eight - UINT64_C(0x0101010101010101)) & UINT64_C(0x8080808080808080)) == 0) {
                at += 8;
                continue;
            }
        }
        if (*at == 0) {
            return false;
        }
        if (*at < 0x80) {
            at++;
            continue;
        }
        int more = *at >= 0xc2 && *at <= 0xdf   ? 1
                   : *at >= 0xe0 && *at <= 0xef ? 2
                   : *at >= 0xf0 && *at <= 0xf4 ? 3
                                                : 0;
        unsigned low = *at == 0xe0 ? 0xa0 : *at == 0xf0 ? 0x90 : 0x80;
        unsigned high = *at == 0xed ? 0x9f : *at == 0xf4 ? 0x8f : 0xbf;
        if (more == 0 || end - at <= more || at[1] < low || at[1] > high) {
            return false;
        }
        for (int i = 2; i <= more; i++) {
            if ((at[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        at += more + 1;
    }
    return true;
}

static void bind_octets(sqlite3_stmt *statement, int at, const char *bytes, size_t size)
{
    if (size == 0) {
        sqlite3_bind_null(statement, at);
    } else if (is_text(bytes, size)) {
        sqlite3_bind_text(statement, at, bytes, (int)size, SQLITE_STATIC);
    } else {
        sqlite3_bind_blob(statement, at, bytes, (int)size, SQLITE_STATIC);
    }
}

static void bind_column(sqlite3_stmt *statement, int at, const struct text *text)
{
    bind_octets(statement, at, text->bytes,
                text->size < DECISION_TEXT ? text->size : DECISION_TEXT);
}

/* What kept_text tells beyond its octets, gathered for the column lengths. */
struct lengths {
    char text[160];
    size_t used;
};

static void bind_kept(sqlite3_stmt *statement, int at, const struct kept_text *kept,
                      const char *name, struct lengths *lengths)
{
    size_t whole = kept->whole > kept->text.size ? kept->whole : kept->text.size;

    bind_column(statement, at, &kept->text);
    if (whole > DECISION_TEXT || whole > kept->text.size) {
        int size = snprintf(lengths->text + lengths->used, sizeof lengths->text - lengths->used,
                            "%s%s=%zu", lengths->used > 0 ? " " : "", name, whole);
        lengths->used += size > 0 ? (size_t)size : 0;
    }
}

static void bind_ip(sqlite3_stmt *statement, int at, bool known, const struct ip *ip,
                    char text[IP_TEXT])
{
    if (known) {
        ip_text(ip, text);
        bind_text(statement, at, text);
    } else {
        sqlite3_bind_null(statement, at);
    }
}

enum status statedb_put_decision(struct statedb *db, const struct decision *decision,
                                 struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_DECISION];
    const struct verdict *verdict = &decision->verdict;
    const struct limit_seen *limit = &verdict->limit;
    char at[STAMP_TEXT], client[IP_TEXT], listener[IP_TEXT];
    struct lengths lengths = {"", 0};

    if (decision->number == 0) {
        return STATUS_OK;
    }
#define AT(name) (COLUMN_##name + 1)
    sqlite3_bind_int64(statement, AT(NUMBER), (sqlite3_int64)decision->number);
    sqlite3_bind_text(statement, AT(AT), at, (int)stamp_write(decision->wall, true, at),
                      SQLITE_STATIC);
    bind_text(statement, AT(ACTION), action_name(verdict->action));
    bind_text(statement, AT(REASON), reason_row(verdict->reason)->name);
    bind_text(statement, AT(CHECK),
              verdict->check < CHECK_COUNT ? check_name(verdict->check) : NULL);
    bind_rule(statement, AT(ROW_TABLE), &verdict->rule);
    bind_column(statement, AT(ROW_TEXT), &decision->row_text);
    bind_text(statement, AT(KIND), kind_name(verdict->kind));
    bind_text(statement, AT(POST), post_names[decision->post]);
    bind_ip(statement, AT(CLIENT), decision->client_known, &decision->client, client);
    bind_kept(statement, AT(CLIENT_NAME), &decision->client_name, "client_name", &lengths);
    bind_kept(statement, AT(HELO), &decision->helo, "helo", &lengths);
    bind_kept(statement, AT(HOST), &decision->host, "host", &lengths);
    bind_ip(statement, AT(LISTENER), decision->listener_known, &decision->listener, listener);
    bind_kept(statement, AT(LOGIN), &decision->login, "login", &lengths);
    bind_kept(statement, AT(SENDER), &decision->sender, "sender", &lengths);
    bind_kept(statement, AT(RECIPIENT), &decision->recipient, "recipient", &lengths);
    sqlite3_bind_int(statement, AT(RECIPIENT_LOCAL), verdict->recipient_local);
    bind_column(statement, AT(SESSION), &decision->session);
    bind_column(statement, AT(QUEUE_ID), &decision->queue);
    bind_text(statement, AT(OUTCOME), outcome_names[decision->outcome]);
    sqlite3_bind_int64(statement, AT(POLICY), (sqlite3_int64)decision->generation);
    if (verdict->observed) {
        bind_text(statement, AT(OBSERVED_REASON), reason_row(verdict->observed_reason)->name);
        bind_rule(statement, AT(OBSERVED_TABLE), &verdict->observed_rule);
        bind_column(statement, AT(OBSERVED_TEXT), &decision->observed_row_text);
    } else {
        for (int i = AT(OBSERVED_REASON); i <= AT(OBSERVED_TEXT); i++) {
            sqlite3_bind_null(statement, i);
        }
    }
    if (limit->rule.table != TABLE_NONE) {
        const struct text *subject =
            limit->subject < SUBJECT_COUNT ? &decision->subject[limit->subject] : NULL;
        sqlite3_bind_int64(statement, AT(LIMIT_ROW), limit->rule.row);
        if (subject != NULL && subject->size > 0) {
            bind_column(statement, AT(LIMIT_SUBJECT), subject);
        } else {
            bind_text(statement, AT(LIMIT_SUBJECT), subject_name(limit->subject));
        }
        bind_text(statement, AT(LIMIT_COUNTS), counts_name(limit->counts));
        sqlite3_bind_int64(statement, AT(LIMIT_COUNT), (sqlite3_int64)limit->count);
        sqlite3_bind_int64(statement, AT(LIMIT_ALLOWED), (sqlite3_int64)limit->allowed);
        sqlite3_bind_int64(statement, AT(LIMIT_SECONDS), limit->seconds);
        sqlite3_bind_int64(statement, AT(LIMIT_WAIT), limit->wait);
    } else {
        for (int i = AT(LIMIT_ROW); i <= AT(LIMIT_WAIT); i++) {
            sqlite3_bind_null(statement, i);
        }
    }
    sqlite3_bind_int(statement, AT(MTA_REFUSED), decision->mta_refused);
    sqlite3_bind_int(statement, AT(SUBMISSION), decision->submission);
    sqlite3_bind_int(statement, AT(NOT_FOR_MTA), decision->not_for_mta);
    if (decision->blocks) {
        bind_column(statement, AT(BLOCKED), &decision->block_subject);
    } else {
        sqlite3_bind_null(statement, AT(BLOCKED));
    }
    bind_octets(statement, AT(LENGTHS), lengths.text, lengths.used);
#undef AT
    return statement_put(db, PUT_DECISION, why);
}

enum status statedb_put_end(struct statedb *db, const struct decision *end, struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_END];
    enum status status = STATUS_OK;

    bind_text(statement, 2, outcome_names[end->outcome]);
    bind_column(statement, 3, &end->queue);
    for (size_t i = 0; status == STATUS_OK && i < end->numbers; i++) {
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)end->number_list[i]);
        status = statement_put(db, PUT_END, why);
    }
    return status;
}

/* -- reading --------------------------------------------------------------------------------- */

static struct text read_text(sqlite3_stmt *statement, enum column column)
{
    struct text text;

    text.bytes = column_text(statement, column, &text.size);
    return text;
}

/* The octets that are there, and the length of which `lengths` tells (name=number, spaces). */
static struct kept_text read_kept(sqlite3_stmt *statement, enum column column, const char *name)
{
    struct kept_text kept = {read_text(statement, column), 0};
    const char *at = column_text(statement, COLUMN_LENGTHS, NULL);
    size_t size = strlen(name);

    kept.whole = (uint32_t)kept.text.size;
    while (*at != '\0') {
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            unsigned long long whole = strtoull(at + size + 1, NULL, 10);
            kept.whole = whole <= UINT32_MAX ? (uint32_t)whole : UINT32_MAX;
        }
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    return kept;
}

static unsigned place_of(const char *name, const char *const *names, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (names[i] != NULL && strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return 0;
}

void decision_row_read(sqlite3_stmt *statement, struct statedb_decision *stored)
{
    struct decision *decision = &stored->decision;
    struct verdict *verdict = &decision->verdict;
    struct limit_seen *limit = &verdict->limit;
    const struct text none = {"", 0};

    memset(stored, 0, sizeof *stored);
    decision->kind = RECORD_DECISION;
    decision->number = (uint64_t)sqlite3_column_int64(statement, COLUMN_NUMBER);
    stored->at = column_text(statement, COLUMN_AT, NULL);
    stamp_read(stored->at, strlen(stored->at), &decision->wall);
    verdict->action = ACTION_DEFER;
    action_named(column_text(statement, COLUMN_ACTION, NULL), &verdict->action);
    verdict->reason = reason_named(column_text(statement, COLUMN_REASON, NULL));
    verdict->check = check_named(column_text(statement, COLUMN_CHECK, NULL));
    verdict->rule = column_rule(statement, COLUMN_ROW_TABLE);
    decision->row_text = read_text(statement, COLUMN_ROW_TEXT);
    kind_named(column_text(statement, COLUMN_KIND, NULL), &verdict->kind);
    decision->post = (enum post)place_of(column_text(statement, COLUMN_POST, NULL), post_names, 2);
    decision->client_known =
        ip_parse(column_text(statement, COLUMN_CLIENT, NULL), &decision->client);
    decision->client_name = read_kept(statement, COLUMN_CLIENT_NAME, "client_name");
    decision->helo = read_kept(statement, COLUMN_HELO, "helo");
    decision->host = read_kept(statement, COLUMN_HOST, "host");
    decision->listener_known =
        ip_parse(column_text(statement, COLUMN_LISTENER, NULL), &decision->listener);
    decision->login = read_kept(statement, COLUMN_LOGIN, "login");
    decision->sender = read_kept(statement, COLUMN_SENDER, "sender");
    decision->recipient = read_kept(statement, COLUMN_RECIPIENT, "recipient");
    verdict->recipient_local = sqlite3_column_int(statement, COLUMN_RECIPIENT_LOCAL) != 0;
    decision->session = read_text(statement, COLUMN_SESSION);
    decision->queue = read_text(statement, COLUMN_QUEUE_ID);
    decision->outcome =
        (enum outcome)place_of(column_text(statement, COLUMN_OUTCOME, NULL), outcome_names, 4);
    stored->ended = decision->outcome != OUTCOME_OPEN;
    decision->generation = (uint64_t)sqlite3_column_int64(statement, COLUMN_POLICY);
    verdict->observed = sqlite3_column_type(statement, COLUMN_OBSERVED_REASON) != SQLITE_NULL;
    verdict->observed_reason = reason_named(column_text(statement, COLUMN_OBSERVED_REASON, NULL));
    verdict->observed_rule = column_rule(statement, COLUMN_OBSERVED_TABLE);
    decision->observed_row_text = read_text(statement, COLUMN_OBSERVED_TEXT);
    for (int i = 0; i < SUBJECT_COUNT; i++) {
        decision->subject[i] = none;
    }
    if (sqlite3_column_type(statement, COLUMN_LIMIT_ROW) != SQLITE_NULL) {
        struct text subject = read_text(statement, COLUMN_LIMIT_SUBJECT);
        char name[16];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(subject.bytes, ":"), subject.bytes);
        limit->rule.table = TABLE_RATE_LIMIT;
        limit->rule.row = sqlite3_column_int64(statement, COLUMN_LIMIT_ROW);
        limit->subject = subject_named(name);
        if (limit->subject < SUBJECT_COUNT && strchr(subject.bytes, ':') != NULL) {
            decision->subject[limit->subject] = subject;
        }
        counts_named(column_text(statement, COLUMN_LIMIT_COUNTS, NULL), &limit->counts);
        limit->count = (uint64_t)sqlite3_column_int64(statement, COLUMN_LIMIT_COUNT);
        limit->allowed = (uint64_t)sqlite3_column_int64(statement, COLUMN_LIMIT_ALLOWED);
        limit->seconds = sqlite3_column_int64(statement, COLUMN_LIMIT_SECONDS);
        limit->wait = sqlite3_column_int64(statement, COLUMN_LIMIT_WAIT);
    }
    decision->mta_refused = sqlite3_column_int(statement, COLUMN_MTA_REFUSED) != 0;
    decision->submission = sqlite3_column_int(statement, COLUMN_SUBMISSION) != 0;
    decision->not_for_mta = sqlite3_column_int(statement, COLUMN_NOT_FOR_MTA) != 0;
    decision->block_subject = read_text(statement, COLUMN_BLOCKED);
    decision->blocks = decision->block_subject.size > 0;
    decision->lifted = none;
}
