/* What has happened in a span, summed up from state.db. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/figures.h"

#include <stdlib.h>
#include <string.h>

#include "core/range.h"
#include "core/stamp.h"
#include "store/db.h"
#include "store/schema.h"
#include "store/statedb.h"

struct figures {
    sqlite3 *sqlite;
    char *path;
};

/* The only index is on the time, and a row is found faster by its number: time and numbers ascend
 * together, so first the numbers between which all decisions of the span lie, then these in the
 * order in which they stand in the file. */
#define BOUNDS "SELECT min(number), max(number) FROM main.decision WHERE at >= ?1 AND at < ?2"
#define SPAN " FROM main.decision WHERE number BETWEEN ?3 AND ?4 AND +at >= ?1 AND +at < ?2"

/* size: so many octets of the time, as SQL. */
#define GROUPS(size)                                                                               \
    "SELECT row_table, row_id, reason, action, recipient_local, substr(at, 1, " size               \
    "), count(*), count(observed_reason)" SPAN                                                     \
    " GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"

/* Of a bare column beside max() SQLite gives the value in the row of the maximum. */
#define TOP(name, count, out, refused, where)                                                      \
    "SELECT " name ", " count " AS how_many, " out ", " refused                                    \
    ", max(number), reason, client" SPAN where                                                     \
    " GROUP BY 1 HAVING how_many > 0 ORDER BY how_many DESC, 1 LIMIT ?5"

static const char *const tops[FIGURES_WHOSE_COUNT] = {
    [FIGURES_CLIENTS] =
        TOP("client", "count(*)", "0", "0", " AND action <> 'accept' AND client IS NOT NULL"),
    [FIGURES_LOGINS] =
        TOP("login", "sum(action = 'accept')", "sum(action = 'accept' AND recipient_local = 0)",
            "sum(action <> 'accept')", " AND login IS NOT NULL"),
    [FIGURES_FORGED] = TOP("sender", "count(*)", "0", "0", " AND reason = 'sender-spoofed'"),
};

/* Temporary files for what is larger than the cache. */
static const char pragmas[] = "PRAGMA temp_store=FILE; PRAGMA cache_size=-8000; BEGIN";

/* -- open and close ------------------------------------------------------------------------- */

enum status figures_open(const char *path, int wait_ms, struct figures **opened, struct why *why)
{
    struct figures *figures = NULL;
    struct statedb *looked = NULL;
    sqlite3_int64 ignored;

    *opened = NULL;
    /* It looks at the file, its version and its tables. */
    enum status status = statedb_open(path, STATEDB_READ, wait_ms, &looked, NULL, why);
    statedb_close(looked);
    if (status != STATUS_OK) {
        return status;
    }
    figures = calloc(1, sizeof *figures);
    if (figures == NULL || (figures->path = strdup(path)) == NULL) {
        status = why_set(why, STATUS_BROKEN, "%s: no memory to open it", path);
        goto out;
    }
    status =
        db_open(path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, wait_ms, &figures->sqlite, why);
    if (status == STATUS_OK) {
        status = db_run(figures->sqlite, path, pragmas, why);
    }
    if (status == STATUS_OK) { /* from here on it is that moment's */
        status =
            db_integer(figures->sqlite, path, "SELECT count(*) FROM main.version", &ignored, why);
    }
    if (status == STATUS_OK) {
        *opened = figures;
        figures = NULL;
    }
out:
    figures_close(figures);
    return status;
}

void figures_close(struct figures *figures)
{
    if (figures != NULL) {
        sqlite3_close(figures->sqlite);
        free(figures->path);
        free(figures);
    }
}

/* -- rows ----------------------------------------------------------------------------------- */

static enum status failed(struct figures *figures, int code, struct why *why)
{
    return why_set(why, db_status(code), "%s: %s", figures->path, sqlite3_errmsg(figures->sqlite));
}

static struct text column_text(sqlite3_stmt *statement, int column)
{
    const char *bytes = sqlite3_column_blob(statement, column);
    struct text text = {bytes, (size_t)sqlite3_column_bytes(statement, column)};

    if (bytes == NULL) {
        text = (struct text){"", 0};
    }
    return text;
}

static const char *column_word(sqlite3_stmt *statement, int column)
{
    const unsigned char *word = sqlite3_column_text(statement, column);
    return word != NULL ? (const char *)word : "";
}

typedef bool take_row(void *context, sqlite3_stmt *statement);

/* Runs a statement to its end, or until take has enough. */
static enum status each(struct figures *figures, sqlite3_stmt *statement, take_row *take,
                        void *context, struct why *why)
{
    int code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!take(context, statement)) {
            code = SQLITE_DONE;
            break;
        }
    }
    return code == SQLITE_DONE ? STATUS_OK : failed(figures, code, why);
}

static enum status prepare(struct figures *figures, const char *sql, sqlite3_stmt **statement,
                           struct why *why)
{
    int code = sqlite3_prepare_v2(figures->sqlite, sql, -1, statement, NULL);
    return code == SQLITE_OK ? STATUS_OK : failed(figures, code, why);
}

struct bounds {
    sqlite3_int64 first, last;
};

static bool take_bounds(void *context, sqlite3_stmt *statement)
{
    struct bounds *bounds = context;

    if (sqlite3_column_type(statement, 0) != SQLITE_NULL) {
        bounds->first = sqlite3_column_int64(statement, 0);
        bounds->last = sqlite3_column_int64(statement, 1);
    }
    return false;
}

static void bind_span(sqlite3_stmt *statement, const char *since, const char *until)
{
    sqlite3_bind_text(statement, 1, since, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(statement, 2, until, -1, SQLITE_TRANSIENT);
}

/* A statement over SPAN; most goes to ?5 where that is asked for. */
static enum status over_span(struct figures *figures, const char *sql, int64_t since, int64_t until,
                             size_t most, take_row *take, void *context, struct why *why)
{
    struct bounds bounds = {1, 0};
    sqlite3_stmt *statement = NULL;
    char from[STAMP_TEXT], to[STAMP_TEXT];

    stamp_write(since, true, from);
    stamp_write(until, true, to);
    enum status status = prepare(figures, BOUNDS, &statement, why);
    if (status == STATUS_OK) {
        bind_span(statement, from, to);
        status = each(figures, statement, take_bounds, &bounds, why);
    }
    sqlite3_finalize(statement);
    statement = NULL;
    if (status == STATUS_OK) {
        status = prepare(figures, sql, &statement, why);
    }
    if (status == STATUS_OK) {
        bind_span(statement, from, to);
        sqlite3_bind_int64(statement, 3, bounds.first);
        sqlite3_bind_int64(statement, 4, bounds.last);
        if (most > 0) {
            sqlite3_bind_int64(statement, 5, (sqlite3_int64)most);
        }
        status = each(figures, statement, take, context, why);
    }
    sqlite3_finalize(statement);
    return status;
}

/* -- what is asked -------------------------------------------------------------------------- */

struct groups {
    bool (*take)(void *, const struct figures_group *);
    void *context;
};

static bool take_group(void *context, sqlite3_stmt *statement)
{
    struct groups *groups = context;
    struct figures_group group = {
        .rule = {table_named(column_word(statement, 0)), sqlite3_column_int64(statement, 1)},
        .reason = reason_named(column_word(statement, 2)),
        .action = ACTION_REFUSE,
        .local = sqlite3_column_int(statement, 4) != 0,
        .moment = column_word(statement, 5),
        .count = (uint64_t)sqlite3_column_int64(statement, 6),
        .observed = (uint64_t)sqlite3_column_int64(statement, 7),
    };

    if (group.rule.table == TABLE_NONE) {
        group.rule.row = 0;
    }
    action_named(column_word(statement, 3), &group.action);
    return groups->take(groups->context, &group);
}

enum status figures_groups(struct figures *figures, int64_t since, int64_t until, bool days,
                           bool (*take)(void *context, const struct figures_group *), void *context,
                           struct why *why)
{
    struct groups groups = {take, context};

    return over_span(figures, days ? GROUPS("10") : GROUPS("13"), since, until, 0, take_group,
                     &groups, why);
}

struct top_rows {
    bool (*take)(void *, const struct figures_top *);
    void *context;
};

static bool take_top(void *context, sqlite3_stmt *statement)
{
    struct top_rows *rows = context;
    struct figures_top top = {
        .name = column_text(statement, 0),
        .count = (uint64_t)sqlite3_column_int64(statement, 1),
        .out = (uint64_t)sqlite3_column_int64(statement, 2),
        .refused = (uint64_t)sqlite3_column_int64(statement, 3),
        .number = (uint64_t)sqlite3_column_int64(statement, 4),
        .reason = reason_named(column_word(statement, 5)),
        .client = column_text(statement, 6),
    };

    return rows->take(rows->context, &top);
}

enum status figures_top(struct figures *figures, enum figures_whose whose, int64_t since,
                        int64_t until, size_t most,
                        bool (*take)(void *context, const struct figures_top *), void *context,
                        struct why *why)
{
    struct top_rows rows = {take, context};

    return over_span(figures, tops[whose], since, until, most, take_top, &rows, why);
}

#define PASSES                                                                                     \
    "SELECT number, at, kind, recipient_local, client, login, recipient, queue_id" SPAN            \
    " AND action = 'accept' AND ifnull(outcome, 'accepted') = 'accepted' AND submission = 0"       \
    " ORDER BY number"

struct passes {
    bool (*take)(void *, const struct figures_pass *);
    void *context;
};

static bool take_pass(void *context, sqlite3_stmt *statement)
{
    struct passes *passes = context;
    struct text at = column_text(statement, 1);
    struct figures_pass pass = {
        .number = (uint64_t)sqlite3_column_int64(statement, 0),
        .kind = KIND_STRANGER,
        .local = sqlite3_column_int(statement, 3) != 0,
        .login = column_text(statement, 5),
        .recipient = column_text(statement, 6),
        .queue = column_text(statement, 7),
    };

    stamp_read(at.bytes, at.size, &pass.at);
    kind_named(column_word(statement, 2), &pass.kind);
    pass.client_known = ip_parse(column_word(statement, 4), &pass.client);
    return passes->take(passes->context, &pass);
}

enum status figures_passes(struct figures *figures, int64_t since, int64_t until,
                           bool (*take)(void *context, const struct figures_pass *), void *context,
                           struct why *why)
{
    struct passes passes = {take, context};

    return over_span(figures, PASSES, since, until, 0, take_pass, &passes, why);
}

struct notes {
    bool (*take)(void *, const struct figures_note *);
    void *context;
};

static bool take_note(void *context, sqlite3_stmt *statement)
{
    struct notes *notes = context;
    struct text at = column_text(statement, 1);
    struct figures_note note = {
        .id = sqlite3_column_int64(statement, 0),
        .kind = column_word(statement, 2),
        .subject = column_word(statement, 3),
        .sentence = column_word(statement, 5),
        .number = (uint64_t)sqlite3_column_int64(statement, 4),
    };

    stamp_read(at.bytes, at.size, &note.at);
    return notes->take(notes->context, &note);
}

enum status figures_notes(struct figures *figures, int64_t above, int64_t since,
                          bool (*take)(void *context, const struct figures_note *), void *context,
                          struct why *why)
{
    struct notes notes = {take, context};
    sqlite3_stmt *statement = NULL;
    char from[STAMP_TEXT];
    enum status status = prepare(figures,
                                 "SELECT id, at, kind, subject, number, text FROM main.note"
                                 " WHERE id > ?1 AND at >= ?2 ORDER BY id",
                                 &statement, why);

    if (status == STATUS_OK) {
        stamp_write(since, false, from); /* with or without a fraction, text compares as time */
        sqlite3_bind_int64(statement, 1, above);
        sqlite3_bind_text(statement, 2, from, -1, SQLITE_TRANSIENT);
        status = each(figures, statement, take_note, &notes, why);
    }
    sqlite3_finalize(statement);
    return status;
}

enum status figures_last_note(struct figures *figures, int64_t *id, struct why *why)
{
    sqlite3_int64 last = 0;
    enum status status = db_integer(figures->sqlite, figures->path,
                                    "SELECT ifnull(max(id), 0) FROM main.note", &last, why);

    *id = last;
    return status;
}
