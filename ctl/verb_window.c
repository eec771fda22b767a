/* sekisho window: opens, closes and lists login windows (POP-before-SMTP). */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "store/statedb_window.h"

#define USAGE                                                                                      \
    "window takes open IP --login L [--for 30s], or close IP, or list; it is off unless the "      \
    "setting login_window_seconds is above 0"

/* -- list ----------------------------------------------------------------------------------- */

struct open_windows {
    const struct ctl *ctl;
    json_t *array;
    size_t count;
};

static bool take(void *context, const struct window *window)
{
    struct open_windows *listing = context;
    int64_t left = (window->until - listing->ctl->now.wall + 999) / 1000;
    char client[IP_TEXT], login[4 * WINDOW_LOGIN], opened[CTL_TIME], until[CTL_TIME];
    char span[CTL_SPAN];

    if (left <= 0 || window->until_steady == STATEDB_BY_WALL) {
        return true;
    }
    listing->count++;
    ip_text(&window->client, client);
    ctl_time_text(window->opened, opened);
    ctl_time_text(window->until, until);
    if (listing->array != NULL) {
        json_array_append_new(listing->array,
                              json_pack("{s:s, s:o, s:s, s:s, s:I}", "client", client, "login",
                                        ctl_json_text(window->login), "opened", opened, "until",
                                        until, "left", (json_int_t)left));
    } else {
        printf("%s  as %s, since %s, until %s, left %s\n", client,
               ctl_plain(window->login, login, sizeof login), opened, until,
               ctl_span_text(left, span));
    }
    return true;
}

static int window_list(const struct ctl *ctl)
{
    struct open_windows listing = {ctl, NULL, 0};
    struct statedb *db = NULL;
    struct why why = {""};
    enum status status = statedb_open(ctl->state, STATEDB_READ, CTL_WAIT_MS, &db, NULL, &why);

    if (status == STATUS_OK) {
        listing.array = ctl->json ? json_array() : NULL;
        status = statedb_windows(db, take, &listing, &why);
    }
    statedb_close(db);
    if (status != STATUS_OK) {
        json_decref(listing.array);
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:o}", "ok", 1, "windows", listing.array));
    } else if (listing.count == 0) {
        printf("no login window is open\n");
    }
    return CTL_YES;
}

/* -- open and close ------------------------------------------------------------------------- */

/* argv[0] is open or close. */
static int window_ask(const struct ctl *ctl, int argc, char **argv)
{
    static const struct option known[] = {{"login", required_argument, NULL, 'l'},
                                          {"for", required_argument, NULL, 'f'},
                                          {NULL, 0, NULL, 0}};
    static const struct option none[] = {{NULL, 0, NULL, 0}};
    struct statedb_request request;
    bool open = strcmp(argv[0], "open") == 0, login = false;
    struct ip client;
    int letter;

    memset(&request, 0, sizeof request);
    opterr = 0;
    optind = 0; /* from the beginning: the words are others now */
    while ((letter = getopt_long(argc, argv, ":", open ? known : none, NULL)) != -1) {
        if (letter == 'f') {
            if (!ctl_span_read(optarg, &request.seconds)) {
                return ctl_fail(ctl, CTL_USAGE, "--for %s: write 30s or 5m", optarg);
            }
        } else if (letter == 'l') {
            if (optarg[0] == '\0' || strlen(optarg) >= WINDOW_LOGIN) {
                return ctl_fail(ctl, CTL_USAGE, "--login: 1 to %d octets", WINDOW_LOGIN - 1);
            }
            memcpy(request.note, optarg, strlen(optarg) + 1);
            login = true;
        } else {
            return ctl_fail(ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of this", USAGE);
        }
    }
    if (optind + 1 != argc) {
        return ctl_fail(ctl, CTL_USAGE, "%s takes one IP; %s", argv[0], USAGE);
    }
    if (open && !login) {
        return ctl_fail(ctl, CTL_USAGE, "--login is missing; %s", USAGE);
    }
    if (!ip_parse(argv[optind], &client)) {
        return ctl_fail(ctl, CTL_USAGE, "%s: not an IP address", argv[optind]);
    }
    ip_text(&client, request.subject);
    if (open && ip_is_loopback(&client)) {
        return ctl_fail(ctl, CTL_NO, "%s is this machine: a login window would be everybody's here",
                        request.subject);
    }
    /* a POP server's user, more often than not */
    if (access(ctl->state, F_OK) == 0 && access(ctl->state, W_OK) != 0) {
        return ctl_fail(ctl, CTL_UNREACHABLE,
                        "%s: %s; only the daemon's own user and root may ask it to open or close a "
                        "login window",
                        ctl->state, strerror(errno));
    }
    snprintf(request.verb, sizeof request.verb, "window-%s", argv[0]);
    return ctl_ask_print(ctl, &request, false);
}

int verb_window(const struct ctl *ctl, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        return window_list(ctl);
    }
    if (argc > 1 && (strcmp(argv[1], "open") == 0 || strcmp(argv[1], "close") == 0)) {
        return window_ask(ctl, argc - 1, argv + 1);
    }
    return ctl_fail(ctl, CTL_USAGE, USAGE);
}
