/* Login windows in state.db, so that they outlive a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "store/statedb_window.h"

#include "core/stamp.h"
#include "store/statement.h"

const char *const statedb_window_sql[QUERY_COUNT] = {
    [PUT_WINDOW] = "INSERT OR REPLACE INTO main.login_window(client, login, opened, until,"
                   " until_steady) VALUES(?,?,?,?,?)",
    [DROP_WINDOW] = "DELETE FROM main.login_window WHERE client=?",
    [DROP_WINDOWS] = "DELETE FROM main.login_window WHERE until_steady IS NULL OR until_steady<=?",
    [GET_WINDOWS] = "SELECT client, login, opened, until, until_steady FROM main.login_window"
                    " ORDER BY id",
};

enum status statedb_put_window(struct statedb *db, const struct window *window, struct why *why)
{
    sqlite3_stmt *statement = db->statement[PUT_WINDOW];
    char client[IP_TEXT], opened[STAMP_TEXT], until[STAMP_TEXT];

    ip_text(&window->client, client);
    stamp_write(window->opened, false, opened);
    stamp_write(window->until + 999, false, until);
    bind_text(statement, 1, client);
    bind_text(statement, 2, window->login);
    bind_text(statement, 3, opened);
    bind_text(statement, 4, until);
    sqlite3_bind_int64(statement, 5, window->until_steady);
    return statement_put(db, PUT_WINDOW, why);
}

enum status statedb_drop_window(struct statedb *db, const struct ip *client, struct why *why)
{
    char text[IP_TEXT];

    ip_text(client, text);
    bind_text(db->statement[DROP_WINDOW], 1, text);
    return statement_put(db, DROP_WINDOW, why);
}

enum status statedb_drop_windows(struct statedb *db, int64_t steady, struct why *why)
{
    sqlite3_bind_int64(db->statement[DROP_WINDOWS], 1, steady);
    return statement_put(db, DROP_WINDOWS, why);
}

struct window_taker {
    bool (*take)(void *, const struct window *);
    void *context;
};

static bool take_window(void *context, sqlite3_stmt *statement)
{
    const struct window_taker *taker = context;
    struct window window = {.until_steady = STATEDB_BY_WALL};

    column_copy(statement, 1, window.login, sizeof window.login);
    if (!ip_parse(column_text(statement, 0, NULL), &window.client) || window.login[0] == '\0' ||
        !column_time(statement, 2, &window.opened) || !column_time(statement, 3, &window.until)) {
        return true;
    }
    if (sqlite3_column_type(statement, 4) == SQLITE_INTEGER) {
        window.until_steady = sqlite3_column_int64(statement, 4);
    }
    return taker->take(taker->context, &window);
}

enum status statedb_windows(struct statedb *db, bool (*take)(void *context, const struct window *),
                            void *context, struct why *why)
{
    struct window_taker taker = {take, context};
    return statement_each(db, GET_WINDOWS, take_window, &taker, why);
}
