/* The login windows that are open: in memory, and in state.db for the time after a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/windows.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "core/policy_limit.h"
#include "store/statedb_window.h"

enum { WINDOWS_MOST = 10000, LATE_MS = 10000 };
_Static_assert((int)WINDOW_LOGIN == (int)BLOCK_NOTE, "a request's note holds a window's login");

struct windows {
    pthread_mutex_t lock;
    struct windowlist *list;
};

struct windows *windows_new(void)
{
    struct windows *windows = calloc(1, sizeof *windows);

    if (windows == NULL || (windows->list = windowlist_new(WINDOWS_MOST)) == NULL ||
        pthread_mutex_init(&windows->lock, NULL) != 0) {
        if (windows != NULL) {
            windowlist_free(windows->list);
        }
        free(windows);
        return NULL;
    }
    return windows;
}

void windows_free(struct windows *windows)
{
    if (windows != NULL) {
        windowlist_free(windows->list);
        pthread_mutex_destroy(&windows->lock);
        free(windows);
    }
}

bool windows_find(struct windows *windows, const struct ip *client, int64_t clock,
                  char login[WINDOW_LOGIN])
{
    pthread_mutex_lock(&windows->lock);
    const struct window *window = windowlist_find(windows->list, client, clock);
    if (window != NULL) {
        memcpy(login, window->login, sizeof window->login);
    }
    pthread_mutex_unlock(&windows->lock);
    return window != NULL;
}

/* -- state.db -------------------------------------------------------------------------------- */

struct restoring {
    struct windows *windows;
    int64_t clock;
};

static bool take_window(void *context, const struct window *window)
{
    const struct restoring *restoring = context;
    int64_t left = window->until_steady - restoring->clock;

    /* a row of somebody else's, or of a clock that is not ours, opens nothing */
    if (left > 0 && left <= setting_kind(SETTING_LOGIN_WINDOW_SECONDS)->most * 1000) {
        pthread_mutex_lock(&restoring->windows->lock);
        windowlist_put(restoring->windows->list, window);
        pthread_mutex_unlock(&restoring->windows->lock);
    }
    return true;
}

void windows_restore(struct windows *windows, struct statedb *state, int64_t clock)
{
    struct restoring restoring = {windows, clock};
    struct why why;

    statedb_windows(state, take_window, &restoring, &why);
}

enum status windows_step(struct windows *windows, struct statedb *state, int64_t clock,
                         struct why *why)
{
    pthread_mutex_lock(&windows->lock);
    size_t gone = windowlist_sweep(windows->list, clock);
    pthread_mutex_unlock(&windows->lock);
    if (gone == 0) {
        return STATUS_OK;
    }
    enum status status = statedb_begin(state, why);
    if (status == STATUS_OK) {
        status = statedb_drop_windows(state, clock, why);
    }
    return statedb_finish(state, status, why);
}

/* -- requests -------------------------------------------------------------------------------- */

bool windows_verb(const char *verb)
{
    return strcmp(verb, "window-open") == 0 || strcmp(verb, "window-close") == 0;
}

/* Would this login be let out from there if it had authenticated; and is the client one that has a
 * use for a window? As the permit door would judge. */
static enum reason judge_login(const struct policy *policy, const struct ip *client,
                               const char *login, enum sender_kind *kind)
{
    static const struct usage usage;
    static const char elsewhere[] = "<somebody@window.invalid>";
    struct facts facts = {
        .post = POST_DOOR,
        .client_known = true,
        .client = *client,
        .client_name = {"", 0},
        .helo = {"", 0},
        .host = {"", 0},
        .login = {login, strlen(login)},
        .sender = {"", 0},
        .recipient = {elsewhere, sizeof elsewhere - 1},
    };
    struct verdict verdict;

    decide(policy, &facts, &usage, &verdict);
    if (verdict.action != ACTION_PASS) {
        return verdict.reason;
    }
    facts.window = true;
    decide(policy, &facts, &usage, &verdict);
    *kind = verdict.kind;
    return REASON_NONE;
}

/* May it be opened? STATUS_BUSY: it need not. */
static enum status may_open(const struct policy *policy, struct moment now,
                            const struct statedb_request *request, const struct ip *client,
                            struct why *why)
{
    const char *login = request->note;
    int64_t most = policy_number(policy, SETTING_LOGIN_WINDOW_SECONDS);
    enum sender_kind kind = KIND_STRANGER;
    char shown[160];

    printable_copy(shown, sizeof shown, login, strlen(login), 100);
    if (most == 0) {
        return why_set(why, STATUS_BAD,
                       "login windows are off: the setting login_window_seconds is 0");
    }
    if (request->at < now.wall - LATE_MS || request->at > now.wall + LATE_MS) {
        return why_set(why, STATUS_BAD, "the request has waited too long: no window was opened");
    }
    if (request->seconds > most) {
        return why_set(why, STATUS_BAD,
                       "%" PRId64 " seconds: a login window is open for at most %" PRId64
                       ", the setting login_window_seconds",
                       request->seconds, most);
    }
    if (ip_is_loopback(client)) {
        return why_set(why, STATUS_BAD,
                       "%.60s is this machine: a login window would be everybody's here",
                       request->subject);
    }
    if (login[0] == '\0') {
        return why_set(why, STATUS_BAD, "no login: a window is that of a login");
    }
    struct text name = {login, strlen(login)};
    bool limited = policy_window_limited(policy, client, &name, NULL);
    enum reason reason = judge_login(policy, client, login, &kind);
    if (reason != REASON_NONE) {
        return why_set(why, STATUS_BAD, "%s from %.60s: no window (%s). %s", shown,
                       request->subject, reason_row(reason)->name, reason_row(reason)->cause);
    }
    if (kind == KIND_CLIENT_HOST) {
        return why_set(why, STATUS_BUSY, "%.60s: a client host, it needs no window",
                       request->subject);
    }
    if (!limited && policy_check_mode(policy, CHECK_RATE, NULL) != MODE_ENFORCE) {
        return why_set(why, STATUS_BAD,
                       "the check rate is not enforced: a window without a limit is not opened");
    }
    if (!limited) {
        return why_set(why, STATUS_BAD,
                       "no rate_limit row with the subject login-window speaks for %.60s, or an "
                       "exemption spares it: a window without a limit is not opened",
                       request->subject);
    }
    if (kind != KIND_WINDOW) {
        return why_set(why, STATUS_BAD,
                       "%.60s: an ip_range row refuses or defers it, so it gets no window",
                       request->subject);
    }
    return STATUS_OK;
}

static bool open_window(struct windows *windows, struct statedb *state, const struct policy *policy,
                        int64_t clock, struct moment now, const struct statedb_request *request,
                        const struct ip *client, struct why *why)
{
    struct window window;
    char text[IP_TEXT], shown[160];
    int64_t seconds = request->seconds > 0 ? request->seconds
                                           : policy_number(policy, SETTING_LOGIN_WINDOW_SECONDS);
    enum status status = may_open(policy, now, request, client, why);

    if (status != STATUS_OK) {
        return status == STATUS_BUSY;
    }
    memset(&window, 0, sizeof window);
    window.client = *client;
    memcpy(window.login, request->note, sizeof window.login);
    window.opened = now.wall;
    window.until = now.wall + seconds * 1000;
    window.until_steady = clock + seconds * 1000;
    /* in memory first: a row of what was not opened would open it after a restart */
    pthread_mutex_lock(&windows->lock);
    bool put = windowlist_put(windows->list, &window);
    pthread_mutex_unlock(&windows->lock);
    if (!put) {
        why_set(why, STATUS_BROKEN, "%.60s: no memory for a window", request->subject);
        return false;
    }
    status = statedb_begin(state, why);
    if (status == STATUS_OK) {
        status = statedb_put_window(state, &window, why);
    }
    if (statedb_finish(state, status, why) != STATUS_OK) {
        pthread_mutex_lock(&windows->lock);
        windowlist_remove(windows->list, client);
        pthread_mutex_unlock(&windows->lock);
        return false;
    }
    ip_text(client, text);
    printable_copy(shown, sizeof shown, window.login, strlen(window.login), 100);
    why_set(why, STATUS_OK, "%s: may relay as %s for %" PRId64 " seconds", text, shown, seconds);
    return true;
}

static bool close_window(struct windows *windows, struct statedb *state, int64_t clock,
                         const struct ip *client, struct why *why)
{
    char text[IP_TEXT];

    pthread_mutex_lock(&windows->lock);
    bool open = windowlist_find(windows->list, client, clock) != NULL;
    windowlist_remove(windows->list, client);
    pthread_mutex_unlock(&windows->lock);
    enum status status = statedb_begin(state, why);
    if (status == STATUS_OK) {
        status = statedb_drop_window(state, client, why);
    }
    if (statedb_finish(state, status, why) != STATUS_OK) {
        return false; /* closed in memory; a restart within its seconds might open it again */
    }
    ip_text(client, text);
    why_set(why, STATUS_OK, open ? "%s: closed" : "%s: had no open window", text);
    return open;
}

void windows_obey(struct windows *windows, struct statedb *state, const struct policy *policy,
                  int64_t clock, struct moment now, struct statedb_request *request,
                  struct why *why)
{
    struct ip client;

    request->done = false;
    if (!ip_parse(request->subject, &client)) {
        why_set(why, STATUS_BAD, "%.60s: not an IP address", request->subject);
    } else if (strcmp(request->verb, "window-open") == 0) {
        request->done = open_window(windows, state, policy, clock, now, request, &client, why);
    } else {
        request->done = close_window(windows, state, clock, &client, why);
    }
}
