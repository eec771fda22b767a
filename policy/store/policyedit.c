/* Rows of a list into one table of policy.db: all of them in one transaction, or none. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/policyedit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy_build.h"
#include "store/db.h"

enum {
    SQL_MOST = 2048,
    DEFAULT_MOST = 40,
    SHOWN = 40, /* octets of a value in a sentence */
    LINES_FIRST = 1024
};

/* Readers are not shut out before the commit: pages go to the file early only beyond this. */
static const char start[] = "PRAGMA cache_size=-262144; PRAGMA temp_store=MEMORY; BEGIN IMMEDIATE";

struct column {
    const char *name;
    char by_default[DEFAULT_MOST];
    bool has_default, key, nocase;
};

/* Row to line, open addressing; line 0 is an empty place. */
struct place {
    int64_t row;
    uint32_t line;
};

struct policyedit {
    sqlite3 *file;
    struct policydb *policy;
    char *path, *source;
    enum table table;
    bool replace, unique, open;
    struct column columns[POLICYEDIT_COLUMNS];
    int count;
    sqlite3_stmt *find, *insert, *update;
    struct place *places;
    size_t room, used;
};

void policyedit_columns(enum table table, const char *columns[POLICYEDIT_COLUMNS])
{
    const char *const *known = policy_columns(table);
    int count = 0;

    for (; known[count] != NULL; count++) {
        columns[count] = known[count];
    }
    columns[count++] = "note";
    columns[count] = NULL;
}

/* -- which line a row is from --------------------------------------------------------------- */

static size_t place_of(const struct place *places, size_t room, int64_t row)
{
    size_t at = (size_t)((uint64_t)row * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (room - 1);

    while (places[at].line != 0 && places[at].row != row) {
        at = (at + 1) & (room - 1);
    }
    return at;
}

static bool remember(struct policyedit *edit, int64_t row, uint32_t line)
{
    if (2 * (edit->used + 1) > edit->room) {
        size_t room = edit->room > 0 ? 2 * edit->room : LINES_FIRST;
        struct place *places = calloc(room, sizeof *places);
        if (places == NULL) {
            return false;
        }
        for (size_t i = 0; i < edit->room; i++) {
            if (edit->places[i].line != 0) {
                places[place_of(places, room, edit->places[i].row)] = edit->places[i];
            }
        }
        free(edit->places);
        edit->places = places;
        edit->room = room;
    }
    edit->places[place_of(edit->places, edit->room, row)] = (struct place){row, line};
    edit->used++;
    return true;
}

uint32_t policyedit_line(const struct policyedit *edit, int64_t row)
{
    return edit->room > 0 ? edit->places[place_of(edit->places, edit->room, row)].line : 0;
}

/* -- statements ----------------------------------------------------------------------------- */

static enum status say(const struct policyedit *edit, struct why *why)
{
    int code = sqlite3_errcode(edit->file);
    enum status status = db_status(code);

    if (status == STATUS_BUSY) {
        return why_set(why, status, "%s: an editor holds its lock", edit->path);
    }
    if ((code & 0xff) == SQLITE_READONLY || (code & 0xff) == SQLITE_CANTOPEN) {
        return why_set(why, STATUS_BROKEN,
                       "%s: cannot be written (%s); an edit needs the right to write the file and "
                       "its folder",
                       edit->path, sqlite3_errmsg(edit->file));
    }
    return why_set(why, status == STATUS_OK ? STATUS_BROKEN : status, "%s: %s", edit->path,
                   sqlite3_errmsg(edit->file));
}

struct sql {
    char text[SQL_MOST];
    size_t used;
};

static void add(struct sql *sql, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Names of ours only ever go into it: values are bound. */
static void add(struct sql *sql, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(sql->text + sql->used, sizeof sql->text - sql->used, format, arguments);
    va_end(arguments);
    sql->used += (size_t)length;
    if (sql->used >= sizeof sql->text) {
        sql->used = sizeof sql->text - 1; /* what is cut does not compile */
    }
}

static enum status prepare(struct policyedit *edit, const struct sql *sql, sqlite3_stmt **statement,
                           struct why *why)
{
    return sqlite3_prepare_v3(edit->file, sql->text, -1, SQLITE_PREPARE_PERSISTENT, statement,
                              NULL) == SQLITE_OK
               ? STATUS_OK
               : say(edit, why);
}

/* A default as the schema has it, 1 or 'text'; an expression is none that could be compared. */
static void read_default(struct column *column, const char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;
    bool quoted = size >= 2 && text[0] == '\'' && text[size - 1] == '\'';

    column->has_default = false;
    if (quoted && size - 2 < DEFAULT_MOST && memchr(text + 1, '\'', size - 2) == NULL) {
        memcpy(column->by_default, text + 1, size - 2);
        column->by_default[size - 2] = '\0';
        column->has_default = true;
    } else if (size > 0 && size < DEFAULT_MOST && strspn(text, "0123456789") == size) {
        memcpy(column->by_default, text, size + 1);
        column->has_default = true;
    }
}

/* Which columns make a row the only one, and what those have that are not given. */
static enum status read_columns(struct policyedit *edit, struct why *why)
{
    static const char sql[] =
        "SELECT name, dflt_value, NULL FROM pragma_table_info(?1) UNION ALL "
        "SELECT x.name, NULL, x.coll FROM pragma_index_list(?1) l, pragma_index_xinfo(l.name) x "
        "WHERE l.origin='u' AND x.key=1";
    sqlite3_stmt *statement = NULL;
    const char *names[POLICYEDIT_COLUMNS];
    int code = sqlite3_prepare_v2(edit->file, sql, -1, &statement, NULL);

    policyedit_columns(edit->table, names);
    for (; names[edit->count] != NULL; edit->count++) {
        edit->columns[edit->count].name = names[edit->count];
    }
    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, table_name(edit->table), -1, SQLITE_STATIC);
        while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(statement, 0);
            const char *collation = (const char *)sqlite3_column_text(statement, 2);
            for (int i = 0; name != NULL && i < edit->count; i++) {
                if (strcmp(edit->columns[i].name, name) != 0) {
                    continue;
                }
                if (collation == NULL) {
                    read_default(&edit->columns[i],
                                 (const char *)sqlite3_column_text(statement, 1));
                } else {
                    edit->columns[i].key = true;
                    edit->columns[i].nocase = strcmp(collation, "NOCASE") == 0;
                }
            }
        }
    }
    enum status status = code == SQLITE_DONE ? STATUS_OK : say(edit, why);
    sqlite3_finalize(statement);
    return status;
}

static enum status prepare_all(struct policyedit *edit, struct why *why)
{
    const char *table = table_name(edit->table);
    struct sql find = {"", 0}, insert = {"", 0}, update = {"", 0};
    bool first = true;

    add(&find, "SELECT id, ");
    add(&insert, "INSERT INTO main.\"%s\"(", table);
    add(&update, "UPDATE main.\"%s\" SET ", table);
    for (int i = 0; i < edit->count; i++) {
        const char *name = edit->columns[i].name;
        bool note = i == edit->count - 1;
        if (note) {
            add(&find, ", ?%d IS NULL OR \"%s\" IS ?%d", i + 1, name, i + 1);
        } else {
            add(&find, "%s\"%s\" IS ?%d", i > 0 ? " AND " : "", name, i + 1);
        }
        add(&insert, "%s\"%s\"", i > 0 ? "," : "", name);
        if (note) {
            add(&update, ",\"%s\"=coalesce(?%d,\"%s\")", name, i + 1, name);
        } else {
            add(&update, "%s\"%s\"=?%d", i > 0 ? "," : "", name, i + 1);
        }
    }
    add(&find, " FROM main.\"%s\"", table);
    for (int i = 0; i < edit->count; i++) {
        if (edit->columns[i].key) {
            add(&find, "%s\"%s\"%s IS ?%d", first ? " WHERE " : " AND ", edit->columns[i].name,
                edit->columns[i].nocase ? " COLLATE NOCASE" : "", i + 1);
            first = false;
        }
    }
    add(&find, " ORDER BY 2 DESC, id");
    add(&insert, ") VALUES(");
    for (int i = 0; i < edit->count; i++) {
        add(&insert, "%s?%d", i > 0 ? "," : "", i + 1);
    }
    add(&insert, ")");
    add(&update, " WHERE id=?%d", edit->count + 1);
    edit->unique = !first;
    enum status status = prepare(edit, &find, &edit->find, why);
    if (status == STATUS_OK) {
        status = prepare(edit, &insert, &edit->insert, why);
    }
    return status == STATUS_OK ? prepare(edit, &update, &edit->update, why) : status;
}

/* Triggers are not run here (db.h), so where one is, the sqlite3 shell would do something else. */
static enum status look_for_triggers(struct policyedit *edit, struct why *why)
{
    sqlite3_int64 count = 0;
    enum status status =
        db_integer(edit->file, edit->path,
                   "SELECT count(*) FROM main.sqlite_master WHERE type='trigger'", &count, why);

    return status == STATUS_OK && count != 0
               ? why_set(why, STATUS_BAD,
                         "%s: has a trigger, which would not be run; use the sqlite3 shell",
                         edit->path)
               : status;
}

enum status policyedit_begin(const char *path, enum table table, bool replace, const char *source,
                             int wait_ms, struct policyedit **begun, struct why *why)
{
    struct policyedit *edit = calloc(1, sizeof *edit);
    enum status status;

    *begun = NULL;
    if (edit == NULL || (edit->path = strdup(path)) == NULL ||
        (source != NULL && (edit->source = strdup(source)) == NULL)) {
        status = why_set(why, STATUS_BROKEN, "%s: no memory to edit it", path);
        goto out;
    }
    edit->table = table;
    edit->replace = replace;
    status = policydb_look(path, why);
    if (status != STATUS_OK) {
        goto out;
    }
    status = db_open(path, SQLITE_OPEN_READWRITE, wait_ms, &edit->file, why);
    if (status != STATUS_OK) {
        goto out;
    }
    if (sqlite3_exec(edit->file, start, NULL, NULL, NULL) != SQLITE_OK) {
        status = say(edit, why);
        goto out;
    }
    edit->open = true;
    status = policydb_on(edit->file, path, &edit->policy, why);
    if (status == STATUS_OK) {
        status = look_for_triggers(edit, why);
    }
    if (status == STATUS_OK) {
        status = read_columns(edit, why);
    }
    if (status == STATUS_OK) {
        status = prepare_all(edit, why);
    }
    if (status != STATUS_OK) {
        goto out;
    }
    *begun = edit;
    edit = NULL;
out:
    policyedit_close(edit);
    return status;
}

void policyedit_close(struct policyedit *edit)
{
    if (edit == NULL) {
        return;
    }
    sqlite3_finalize(edit->find);
    sqlite3_finalize(edit->insert);
    sqlite3_finalize(edit->update);
    policydb_close(edit->policy);
    if (edit->open && !sqlite3_get_autocommit(edit->file)) {
        sqlite3_exec(edit->file, "ROLLBACK", NULL, NULL, NULL);
    }
    sqlite3_close(edit->file);
    free(edit->places);
    free(edit->source);
    free(edit->path);
    free(edit);
}

struct policydb *policyedit_policy(struct policyedit *edit)
{
    return edit->policy;
}

/* -- rows ----------------------------------------------------------------------------------- */

/* Is the text the column's name and then this sign? */
static const char *behind_name(const char *text, const char *name, char sign)
{
    size_t size = strlen(name);

    return strncmp(text, name, size) == 0 && text[size] == sign ? text + size + 1 : NULL;
}

/* What SQLite said about a row, as the sentence that the schema has for it. */
static enum status refuse(struct policyedit *edit, const struct policyedit_cell *cells,
                          struct why *why)
{
    static const char by_check[] = "CHECK constraint failed: ";
    static const char by_null[] = "NOT NULL constraint failed: ";
    const char *said = sqlite3_errmsg(edit->file);
    char shown[4 * SHOWN + 32];

    if (db_status(sqlite3_errcode(edit->file)) != STATUS_BAD) {
        return say(edit, why);
    }
    if (strncmp(said, by_null, sizeof by_null - 1) == 0) {
        const char *dot = strchr(said, '.');
        return why_set(why, STATUS_BAD, "%s is missing", dot != NULL ? dot + 1 : said);
    }
    said += strncmp(said, by_check, sizeof by_check - 1) == 0 ? sizeof by_check - 1 : 0;
    for (int i = 0; i < edit->count; i++) {
        const char *rest = behind_name(said, edit->columns[i].name, ':');
        if (rest != NULL && cells[i].text != NULL) {
            printable_copy(shown, sizeof shown, cells[i].text, cells[i].size, SHOWN);
            return why_set(why, STATUS_BAD, "%s \"%s\":%s", edit->columns[i].name, shown, rest);
        }
    }
    return why_set(why, STATUS_BAD, "%s", said);
}

static void bind(const struct policyedit *edit, sqlite3_stmt *statement,
                 const struct policyedit_cell *cells, bool defaults)
{
    for (int i = 0; i < edit->count; i++) {
        const struct column *column = &edit->columns[i];
        if (cells[i].text != NULL) {
            sqlite3_bind_text64(statement, i + 1, cells[i].text, cells[i].size, SQLITE_STATIC,
                                SQLITE_UTF8);
        } else if (defaults && column->has_default && i < edit->count - 1) {
            sqlite3_bind_text(statement, i + 1, column->by_default, -1, SQLITE_STATIC);
        } else {
            sqlite3_bind_null(statement, i + 1);
        }
    }
}

/* What is there under the row's key. */
struct found {
    int64_t row; /* 0: nothing that would be in the way */
    bool same, noted;
    uint32_t line; /* of the list; 0: it was there before */
};

static enum status look(struct policyedit *edit, const struct policyedit_cell *cells,
                        struct found *found, struct why *why)
{
    int code;

    *found = (struct found){0, false, false, 0};
    bind(edit, edit->find, cells, true);
    while ((code = sqlite3_step(edit->find)) == SQLITE_ROW) {
        int64_t row = sqlite3_column_int64(edit->find, 0);
        bool same = sqlite3_column_int(edit->find, 1) != 0;
        uint32_t line = policyedit_line(edit, row);
        /* The administrator's own ip_range rows may stand twice: there only an equal one counts,
         * and one that may take the list's values. */
        bool twice = edit->table == TABLE_IP_RANGE && edit->source == NULL;
        if (same || !twice || (edit->replace && line == 0 && found->row == 0)) {
            *found = (struct found){row, same, sqlite3_column_int(edit->find, 2) != 0, line};
        }
        if (same) {
            code = SQLITE_DONE;
            break;
        }
    }
    sqlite3_reset(edit->find);
    return code == SQLITE_DONE ? STATUS_OK : say(edit, why);
}

static enum status write_row(struct policyedit *edit, const struct policyedit_cell *cells,
                             int64_t *row, uint32_t line, struct why *why)
{
    sqlite3_stmt *statement = *row != 0 ? edit->update : edit->insert;
    enum status status = STATUS_OK;

    bind(edit, statement, cells, false);
    if (*row != 0) {
        sqlite3_bind_int64(statement, edit->count + 1, *row);
    }
    if (sqlite3_step(statement) != SQLITE_DONE) {
        status = refuse(edit, cells, why);
    } else {
        *row = *row != 0 ? *row : sqlite3_last_insert_rowid(edit->file);
    }
    sqlite3_reset(statement);
    if (status == STATUS_OK && !remember(edit, *row, line)) {
        status = why_set(why, STATUS_BROKEN, "%s: no memory for so long a list", edit->path);
    }
    return status;
}

enum status policyedit_row(struct policyedit *edit, const struct policyedit_cell *cells,
                           uint32_t line, enum policyedit_did *did, struct why *why)
{
    struct found found = {0, false, false, 0};
    enum status status = edit->unique ? look(edit, cells, &found, why) : STATUS_OK;
    char shown[4 * SHOWN + 32];

    if (status != STATUS_OK) {
        return status;
    }
    if (found.row == 0) {
        *did = POLICYEDIT_ADDED;
        return write_row(edit, cells, &found.row, line, why);
    }
    if (found.same && found.line != 0) {
        *did = POLICYEDIT_REPEATED;
        return STATUS_OK;
    }
    if (found.same && (found.noted || !edit->replace)) {
        *did = POLICYEDIT_KEPT;
        return remember(edit, found.row, line)
                   ? STATUS_OK
                   : why_set(why, STATUS_BROKEN, "%s: no memory for so long a list", edit->path);
    }
    if (edit->replace && found.line == 0) {
        *did = POLICYEDIT_CHANGED;
        return write_row(edit, cells, &found.row, line, why);
    }
    printable_copy(shown, sizeof shown, cells[0].text != NULL ? cells[0].text : "", cells[0].size,
                   SHOWN);
    return found.line != 0
               ? why_set(why, STATUS_BAD, "%s \"%s\" stands in line %" PRIu32 " with other values",
                         edit->columns[0].name, shown, found.line)
               : why_set(why, STATUS_BAD,
                         "%s \"%s\" stands in %s %" PRId64 " already, with other values",
                         edit->columns[0].name, shown, table_name(edit->table), found.row);
}

enum status policyedit_sweep(struct policyedit *edit, size_t *removed, struct why *why)
{
    sqlite3_stmt *statement = NULL, *removal = NULL;
    struct sql sql = {"", 0}, removing = {"", 0};
    int64_t *rows = NULL;
    size_t count = 0, room = 0;
    int code = SQLITE_OK;
    enum status status;

    *removed = 0;
    add(&sql, "SELECT id FROM main.\"%s\"%s", table_name(edit->table),
        edit->table == TABLE_IP_RANGE ? " WHERE source IS ?1" : "");
    add(&removing, "DELETE FROM main.\"%s\" WHERE id=?1", table_name(edit->table));
    status = prepare(edit, &sql, &statement, why);
    if (status == STATUS_OK) {
        status = prepare(edit, &removing, &removal, why);
    }
    if (status == STATUS_OK && edit->table == TABLE_IP_RANGE && edit->source != NULL) {
        sqlite3_bind_text(statement, 1, edit->source, -1, SQLITE_STATIC);
    }
    while (status == STATUS_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t row = sqlite3_column_int64(statement, 0);
        if (policyedit_line(edit, row) != 0) {
            continue;
        }
        if (count == room) {
            size_t more = room > 0 ? 2 * room : 256;
            int64_t *grown = realloc(rows, more * sizeof *rows);
            if (grown == NULL) {
                status = why_set(why, STATUS_BROKEN, "%s: no memory to edit it", edit->path);
                break;
            }
            rows = grown;
            room = more;
        }
        rows[count++] = row;
    }
    if (status == STATUS_OK && code != SQLITE_DONE) {
        status = say(edit, why);
    }
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        sqlite3_bind_int64(removal, 1, rows[i]);
        if (sqlite3_step(removal) != SQLITE_DONE) {
            status = say(edit, why);
        }
        sqlite3_reset(removal);
    }
    *removed = count;
    sqlite3_finalize(statement);
    sqlite3_finalize(removal);
    free(rows);
    return status;
}

enum status policyedit_commit(struct policyedit *edit, struct why *why)
{
    return sqlite3_exec(edit->file, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? STATUS_OK
                                                                             : say(edit, why);
}
