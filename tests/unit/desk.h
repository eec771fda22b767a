/* A book with its records in a folder of its own, for the tests that need one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DESK_H
#define SEKISHO_DESK_H

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "live/book.h"
#include "live/recorder.h"
#include "rows.h"

struct desk {
    char folder[64], state[96];
    struct sequence sequence;
    struct book *book;
    struct recorder *recorder;
    struct policy *policy;
    struct moment now;
    char told[400]; /* the last sentence about damage */
};

static inline void hear(void *context, const char *sentence)
{
    struct desk *desk = context;

    snprintf(desk->told, sizeof desk->told, "%s", sentence);
}

/* Opens it, or opens it again as a restart would: what is on disk stays. */
static inline void open_book(struct desk *desk)
{
    struct why why = {""};

    desk->book = book_new(&desk->sequence, 1000);
    assert_non_null(desk->book);
    if (recorder_open(desk->folder, desk->state, desk->book, desk->policy, desk->now, hear, desk,
                      &desk->recorder, &why) != STATUS_OK) {
        fail_msg("%s", why.text);
    }
}

static inline void close_book(struct desk *desk)
{
    recorder_close(desk->recorder);
    book_free(desk->book);
}

/* A new folder, the policy of these rows. */
static inline void desk_open(struct desk *desk, const struct row *rows)
{
    memset(desk, 0, sizeof *desk);
    snprintf(desk->folder, sizeof desk->folder, "/tmp/sekisho-desk.XXXXXX");
    assert_non_null(mkdtemp(desk->folder));
    snprintf(desk->state, sizeof desk->state, "%s/state.db", desk->folder);
    desk->sequence.next = 1;
    desk->sequence.limit = 100000;
    desk->now = (struct moment){ROWS_NOW, 1000000};
    desk->policy = rows_policy(rows, ROWS_NOW);
    assert_non_null(desk->policy);
    message_hash_start();
    open_book(desk);
}

/* Calls take with each file of the state directory's folder "" or "/journal". */
static inline void each_file(const struct desk *desk, const char *name,
                             void (*take)(const char *path, void *context), void *context)
{
    char path[400], file[800];

    snprintf(path, sizeof path, "%s%s", desk->folder, name);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        take(file, context);
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

static inline void take_away(const char *path, void *context)
{
    (void)context;
    unlink(path);
}

/* Closes all, and removes the folder. */
static inline void desk_close(struct desk *desk)
{
    char path[400];

    close_book(desk);
    policy_free(desk->policy);
    each_file(desk, "/journal", take_away, NULL);
    each_file(desk, "", take_away, NULL);
    snprintf(path, sizeof path, "%s/journal", desk->folder);
    rmdir(path);
    rmdir(desk->folder);
}

/* What is known of one recipient; borrows the texts. */
static inline struct facts desk_facts(enum post post, const char *client, const char *login,
                                      const char *sender, const char *recipient)
{
    struct facts facts = {
        .post = post,
        .client_name = {"", 0},
        .helo = {"client.invalid", 14},
        .host = {"mail.example.jp", 15},
        .login = {login, strlen(login)},
        .sender = {sender, strlen(sender)},
        .recipient = {recipient, strlen(recipient)},
    };

    facts.client_known = ip_parse(client, &facts.client);
    return facts;
}

#endif
