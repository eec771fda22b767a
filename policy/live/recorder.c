/* What the book has on disk: the journal's upkeep, and counts and blocks back after a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/decision.h"
#include "live/moment.h"

enum { PATH_ROOM = 4096, KEY_SIZE = 16, NAME_MOST = 64 };

struct recorder {
    struct book *book;
    struct journal *journal;
    size_t most;
};

/* -- two small files ------------------------------------------------------------------------ */

/* Reads the first line; "" when the file is not there. */
static enum status read_line(const char *path, char *text, size_t room, struct why *why)
{
    FILE *file = fopen(path, "re");
    enum status status = STATUS_OK;

    text[0] = '\0';
    if (file == NULL) {
        return errno == ENOENT ? STATUS_OK
                               : why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    }
    if (fgets(text, (int)room, file) == NULL && ferror(file)) {
        status = why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
        text[0] = '\0';
    }
    text[strcspn(text, "\n")] = '\0';
    fclose(file);
    return status;
}

static enum status write_line(const char *path, const char *text, struct why *why)
{
    char beside[PATH_ROOM];
    enum status status = STATUS_BROKEN;
    size_t size = strlen(text);
    int file = -1;

    if (snprintf(beside, sizeof beside, "%s.new", path) < (int)sizeof beside) {
        file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (file < 0 || write(file, text, size) != (ssize_t)size || fsync(file) != 0 ||
        rename(beside, path) != 0) {
        why_set(why, status, "%s: cannot be written: %s", path, strerror(errno));
    } else {
        status = STATUS_OK;
    }
    if (file >= 0) {
        close(file);
    }
    return status;
}

/* The key of all hashes: without it the counts that are on disk could not be found again. */
static enum status take_key(const char *folder, struct book *book, struct why *why)
{
    unsigned char key[KEY_SIZE];
    char path[PATH_ROOM], text[NAME_MOST], line[NAME_MOST];
    size_t size = 0;

    snprintf(path, sizeof path, "%s/key", folder);
    enum status status = read_line(path, text, sizeof text, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (sodium_hex2bin(key, sizeof key, text, strlen(text), NULL, &size, NULL) != 0 ||
        size != sizeof key) {
        randombytes_buf(key, sizeof key);
        sodium_bin2hex(text, sizeof text, key, sizeof key);
        snprintf(line, sizeof line, "%.40s\n", text);
        status = write_line(path, line, why);
    }
    if (status == STATUS_OK) {
        book_set_key(book, key);
    }
    return status;
}

/* -- the records that are there ------------------------------------------------------------- */

/* Calls take for each record that can be read. */
static enum status each_record(struct recorder *recorder,
                               void (*take)(void *context, const struct decision *, uint64_t),
                               void *context)
{
    unsigned char *bytes = malloc(JOURNAL_RECORD);
    struct decision_room *room = malloc(sizeof *room);
    struct journal_cursor cursor = {0, 0, 0};
    enum status status = STATUS_BROKEN;
    struct decision decision;
    uint64_t number;
    struct why why;
    size_t size;

    if (bytes != NULL && room != NULL) {
        /* what cannot be read is passed over: the cursor stands behind it */
        while ((status = journal_read(recorder->journal, &cursor, bytes, &size, &number, &why)) !=
               STATUS_BUSY) {
            if (status == STATUS_OK && decision_read(bytes, size, room, &decision) == STATUS_OK) {
                take(context, &decision, number);
            }
        }
        status = STATUS_OK;
    }
    free(bytes);
    free(room);
    return status;
}

struct latest {
    int64_t ledger, wall;
};

static void take_time(void *context, const struct decision *decision, uint64_t number)
{
    struct latest *latest = context;

    (void)number;
    if (decision->steady >= latest->ledger) {
        *latest = (struct latest){decision->steady, decision->wall};
    }
}

struct restoring {
    struct book *book;
    struct moment now;
};

static void take_record(void *context, const struct decision *decision, uint64_t number)
{
    struct restoring *restoring = context;

    book_restore_record(restoring->book, decision, number, 0, restoring->now);
}

/* The ledger's clock goes on with the steady clock within one run of the machine, otherwise by what
 * the wall clock says has passed since the last record. */
static enum status take_clock(const char *folder, struct recorder *recorder, struct moment now,
                              struct why *why)
{
    struct latest latest = {0, now.wall};
    char path[PATH_ROOM], text[128], boot[MOMENT_BOOT], known[MOMENT_BOOT] = "";
    int64_t offset = 0;

    moment_boot(boot);
    snprintf(path, sizeof path, "%s/clock", folder);
    enum status status = read_line(path, text, sizeof text, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (sscanf(text, "%47s %" SCNd64, known, &offset) != 2) {
        known[0] = '\0';
    }
    if (each_record(recorder, take_time, &latest) != STATUS_OK) {
        return why_set(why, STATUS_BROKEN, "no memory to read the journal");
    }
    bool same_boot = boot[0] != '\0' && strcmp(boot, known) == 0;
    book_set_clock(recorder->book, same_boot, offset, latest.ledger, latest.wall, now);
    snprintf(text, sizeof text, "%s %" PRId64 "\n", boot[0] != '\0' ? boot : "-",
             book_clock_offset(recorder->book));
    return write_line(path, text, why);
}

enum status recorder_open(const char *folder, struct book *book, struct moment now,
                          void (*tell)(void *context, const char *sentence), void *context,
                          struct recorder **opened, struct why *why)
{
    struct recorder *recorder = calloc(1, sizeof *recorder);
    struct restoring restoring = {book, now};
    char path[PATH_ROOM];
    enum status status;

    *opened = NULL;
    if (recorder == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for the journal");
    }
    recorder->book = book;
    recorder->most = (size_t)setting_kind(SETTING_RING_SIZE)->number;
    status = take_key(folder, book, why);
    if (status == STATUS_OK) {
        snprintf(path, sizeof path, "%s/journal", folder);
        status = journal_open(path, recorder->most * 2, 0, tell, context, &recorder->journal, why);
    }
    if (status == STATUS_OK) {
        status = take_clock(folder, recorder, now, why);
    }
    if (status == STATUS_OK && each_record(recorder, take_record, &restoring) != STATUS_OK) {
        status = why_set(why, STATUS_BROKEN, "no memory to read the journal");
    }
    if (status == STATUS_OK) {
        book_attach(book, recorder->journal);
        *opened = recorder;
        recorder = NULL;
    }
    recorder_close(recorder);
    return status;
}

enum status recorder_step(struct recorder *recorder, const struct policy *policy, struct why *why)
{
    if (policy != NULL) {
        recorder->most = (size_t)policy_number(policy, SETTING_RING_SIZE);
        journal_limit(recorder->journal, recorder->most * 2);
    }
    enum status status = journal_sync(recorder->journal, why);
    size_t waiting = journal_waiting(recorder->journal);
    if (waiting > recorder->most) {
        journal_release(recorder->journal, journal_last(recorder->journal) - recorder->most);
    }
    struct why extend;
    if (journal_extend(recorder->journal, &extend) != STATUS_OK && status == STATUS_OK) {
        *why = extend;
        status = STATUS_BROKEN;
    }
    return status;
}

size_t recorder_records(const struct recorder *recorder)
{
    return journal_waiting(recorder->journal);
}

void recorder_close(struct recorder *recorder)
{
    struct why why;

    if (recorder != NULL) {
        book_attach(recorder->book, NULL);
        if (recorder->journal != NULL) {
            journal_sync(recorder->journal, &why);
        }
        journal_close(recorder->journal);
        free(recorder);
    }
}
