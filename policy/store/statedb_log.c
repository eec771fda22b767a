/* The decisions of state.db that somebody asks for: by time, number, client, address, reason. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_log.h"

#include <string.h>

#include "core/address.h"
#include "core/range.h"
#include "core/stamp.h"
#include "store/decision_row.h"
#include "store/statement.h"

#define SELECT_DECISIONS                                                                           \
    "SELECT " DECISION_COLUMNS(COLUMN_SQL) " FROM main.decision WHERE number BETWEEN ?1 AND ?2"    \
                                           " AND +at >= ?3 AND +at < ?4 ORDER BY number"

const char *const statedb_log_sql[QUERY_COUNT] = {
    [TIME_BOUNDS] = "SELECT min(number), max(number) FROM main.decision WHERE at >= ?1 AND at < ?2",
    [DECISIONS_OLDEST] = SELECT_DECISIONS,
    [DECISIONS_NEWEST] = SELECT_DECISIONS " DESC",
};

/* A wanted sender or recipient. */
struct wanted_address {
    bool any, domain_only;
    char domain[ADDRESS_DOMAIN_ROOM];
    struct address address;
    const char *text; /* as it was asked for, for what is malformed */
};

struct reading {
    const struct statedb_filter *filter;
    struct range range;
    struct wanted_address sender, recipient;
    size_t taken;
    bool (*take)(void *, const struct statedb_decision *);
    void *context;
};

static void want_address(struct wanted_address *wanted, const char *text)
{
    wanted->any = text == NULL;
    wanted->text = text;
    if (text != NULL && text[0] == '@') {
        wanted->domain_only = domain_fold(text + 1, strlen(text + 1), wanted->domain);
    }
    if (text != NULL && !wanted->domain_only) {
        address_parse(text, strlen(text), &wanted->address);
    }
}

static bool same_text(const char *text, size_t size, const char *wanted)
{
    return strlen(wanted) == size && sqlite3_strnicmp(text, wanted, (int)size) == 0;
}

static bool address_fits(sqlite3_stmt *statement, enum column column,
                         const struct wanted_address *wanted)
{
    struct address address;
    size_t size;
    const char *text = column_text(statement, column, &size);

    if (wanted->any) {
        return true;
    }
    address_parse(text, size, &address);
    if (wanted->domain_only) {
        return address.kind == ADDRESS_MAILBOX && strcmp(address.domain, wanted->domain) == 0;
    }
    if (address.kind == ADDRESS_MALFORMED) {
        if (size >= 2 && text[0] == '<' && text[size - 1] == '>' && wanted->text[0] != '<') {
            text++;
            size -= 2;
        }
        return same_text(text, size, wanted->text);
    }
    return address.kind == wanted->address.kind &&
           (address.kind == ADDRESS_NULL || (strcmp(address.fold, wanted->address.fold) == 0 &&
                                             strcmp(address.domain, wanted->address.domain) == 0));
}

static bool text_fits(sqlite3_stmt *statement, enum column column, const char *wanted)
{
    size_t size;
    const char *text = column_text(statement, column, &size);

    return wanted == NULL || same_text(text, size, wanted);
}

static bool fits(struct reading *reading, sqlite3_stmt *statement)
{
    const struct statedb_filter *filter = reading->filter;
    struct ip client;

    return text_fits(statement, COLUMN_ACTION, filter->action) &&
           text_fits(statement, COLUMN_REASON, filter->reason) &&
           text_fits(statement, COLUMN_LOGIN, filter->login) &&
           (filter->client == NULL ||
            (ip_parse(column_text(statement, COLUMN_CLIENT, NULL), &client) &&
             range_holds(&reading->range, &client))) &&
           address_fits(statement, COLUMN_SENDER, &reading->sender) &&
           address_fits(statement, COLUMN_RECIPIENT, &reading->recipient);
}

static bool take_decision(void *context, sqlite3_stmt *statement)
{
    struct reading *reading = context;
    struct statedb_decision stored;

    if (!fits(reading, statement)) {
        return true;
    }
    decision_row_read(statement, &stored);
    reading->taken++;
    return reading->take(reading->context, &stored) && reading->taken != reading->filter->most;
}

/* The numbers between which all decisions of a time lie: few, where time and numbers ascend
 * together, and found in the index. */
static enum status bound_by_time(struct statedb *db, const char *since, const char *until,
                                 sqlite3_int64 *first, sqlite3_int64 *last, struct why *why)
{
    sqlite3_stmt *statement = db->statement[TIME_BOUNDS];
    enum status status = STATUS_OK;

    bind_text(statement, 1, since);
    bind_text(statement, 2, until);
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW) {
        status = statement_failed(db, code, why);
    } else if (sqlite3_column_type(statement, 0) == SQLITE_NULL) {
        *last = 0; /* none */
    } else {
        sqlite3_int64 low = sqlite3_column_int64(statement, 0);
        sqlite3_int64 high = sqlite3_column_int64(statement, 1);
        *first = low > *first ? low : *first;
        *last = high < *last ? high : *last;
    }
    sqlite3_reset(statement);
    return status;
}

enum status statedb_decisions(struct statedb *db, const struct statedb_filter *filter,
                              bool (*take)(void *context, const struct statedb_decision *),
                              void *context, struct why *why)
{
    enum query query = filter->newest_first ? DECISIONS_NEWEST : DECISIONS_OLDEST;
    sqlite3_stmt *statement = db->statement[query];
    char since[STAMP_TEXT], until[STAMP_TEXT];
    sqlite3_int64 first = 1, last = INT64_MAX;
    struct reading reading = {.filter = filter, .take = take, .context = context};
    enum status status = STATUS_OK;

    if (filter->client != NULL) {
        status = range_parse(filter->client, strlen(filter->client), &reading.range, why);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (filter->above >= INT64_MAX || filter->number > INT64_MAX) {
        return STATUS_OK;
    }
    want_address(&reading.sender, filter->sender);
    want_address(&reading.recipient, filter->recipient);
    first = (sqlite3_int64)filter->above + 1;
    if (filter->number != 0) {
        first = (sqlite3_int64)filter->number > first ? (sqlite3_int64)filter->number : first;
        last = (sqlite3_int64)filter->number;
    }
    if (filter->upto != 0 && filter->upto < (uint64_t)last) {
        last = (sqlite3_int64)filter->upto;
    }
    stamp_write(filter->since, true, since);
    stamp_write(filter->until != 0 ? filter->until : INT64_MAX, true, until);
    if (filter->since != 0 || filter->until != 0) {
        status = bound_by_time(db, filter->since != 0 ? since : "", until, &first, &last, why);
        if (status != STATUS_OK) {
            return status;
        }
    }
    sqlite3_bind_int64(statement, 1, first);
    sqlite3_bind_int64(statement, 2, last);
    bind_text(statement, 3, filter->since != 0 ? since : "");
    bind_text(statement, 4, filter->until != 0 ? until : "~"); /* behind every time */
    return statement_each(db, query, take_decision, &reading, why);
}
