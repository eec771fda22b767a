/* state.db: what is written comes back; what is damaged, locked or foreign is told apart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE /* unshare */
#include "store/statedb.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/db.h"
#include "store/schema.h"
#include "store/statedb_block.h"
#include "store/statedb_counter.h"
#include "store/statedb_log.h"
#include "store/statedb_note.h"
#include "store/statedb_prune.h"
#include "store/statedb_request.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
/* 2026-11-24 03:00:00 UTC */
#define NOW INT64_C(1795489200000)

/* ---- helpers ---- */

static struct why why; /* of the last call */

struct place {
    char folder[64], path[128], wal[144], shm[144];
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    assert_non_null(place);
    snprintf(place->folder, sizeof place->folder, "/tmp/statedb.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof place->path, "%s/state.db", place->folder);
    snprintf(place->wal, sizeof place->wal, "%s-wal", place->path);
    snprintf(place->shm, sizeof place->shm, "%s-shm", place->path);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;
    char command[128];

    /* names in it are made by statedb_set_aside too */
    snprintf(command, sizeof command, "%s", place->folder);
    pid_t child = fork();
    if (child == 0) {
        execlp("rm", "rm", "-rf", command, (char *)NULL);
        _exit(127);
    }
    int end = 0;
    waitpid(child, &end, 0);
    free(place);
    return end;
}

static enum status try_open(const char *path, enum statedb_use use, struct statedb **db)
{
    bool newer = true;
    enum status status = statedb_open(path, use, 50, db, &newer, &why);

    assert_true(status == STATUS_OK ? *db != NULL : *db == NULL);
    assert_int_equal(newer, strstr(why.text, "newer") != NULL && status != STATUS_OK);
    return status;
}

static struct statedb *open_state(const struct place *place, enum statedb_use use)
{
    struct statedb *db = NULL;

    if (try_open(place->path, use, &db) != STATUS_OK) {
        fail_msg("%s", why.text);
    }
    return db;
}

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != STATUS_OK) {                                                                 \
            fail_msg("%s: %s", #call, why.text);                                                   \
        }                                                                                          \
    } while (0)

/* The administrator's shell: another connection, nothing switched off. Answers the first cell. */
static const char *shell(const struct place *place, const char *sql)
{
    static char answer[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    const char *rest = sql;

    answer[0] = '\0';
    assert_int_equal(sqlite3_open(place->path, &db), SQLITE_OK);
    while (rest[0] != '\0') {
        int code = sqlite3_prepare_v2(db, rest, -1, &statement, &rest);
        if (code == SQLITE_OK && statement != NULL) {
            while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
                const unsigned char *text = sqlite3_column_text(statement, 0);
                snprintf(answer, sizeof answer, "%s", text != NULL ? (const char *)text : "NULL");
            }
        }
        if (code != SQLITE_DONE && code != SQLITE_OK) {
            snprintf(answer, sizeof answer, "%s", sqlite3_errmsg(db));
        }
        sqlite3_finalize(statement);
    }
    sqlite3_close(db);
    return answer;
}

static struct text text_from(const char *text)
{
    return (struct text){text, strlen(text)};
}

static struct kept_text kept_from(const char *text)
{
    return (struct kept_text){text_from(text), (uint32_t)strlen(text)};
}

static struct decision least_decision(uint64_t number)
{
    struct decision decision = {.kind = RECORD_DECISION, .wall = NOW, .number = number};

    decision.client_name = decision.helo = decision.host = decision.login = decision.sender =
        decision.recipient = kept_from("");
    decision.session = decision.row_text = decision.observed_row_text = decision.block_subject =
        decision.queue = decision.lifted = text_from("");
    for (int i = 0; i < SUBJECT_COUNT; i++) {
        decision.subject[i] = text_from("");
    }
    decision.verdict.check = CHECK_NONE;
    decision.verdict.reason = REASON_PASS_LOCAL;
    return decision;
}

static void put_decision(struct statedb *db, const struct decision *decision)
{
    OK(statedb_begin(db, &why));
    OK(statedb_put_decision(db, decision, &why));
    OK(statedb_commit(db, &why));
}

struct taken {
    size_t count, enough;
    uint64_t number[64];
    char text[512];
    void (*look)(const struct statedb_decision *);
};

static bool take_decision(void *context, const struct statedb_decision *stored)
{
    struct taken *taken = context;

    assert_true(taken->count < COUNT_OF(taken->number));
    taken->number[taken->count++] = stored->decision.number;
    if (taken->look != NULL) {
        taken->look(stored);
    }
    return taken->count != taken->enough;
}

/* -- making and opening ----------------------------------------------------------------------- */

static void test_new(void **state)
{
    const struct place *place = *state;
    mode_t before = umask(077);
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct stat seen;

    umask(before);
    assert_int_equal(stat(place->path, &seen), 0);
    assert_int_equal(seen.st_mode & 07777, 0640);
    assert_int_equal(stat(place->wal, &seen), 0);
    assert_int_equal(seen.st_mode & 07777, 0640);
    assert_true(statedb_same(db));
    assert_string_equal(shell(place, "PRAGMA journal_mode"), "wal");
    assert_string_equal(shell(place, "PRAGMA application_id"), "1397050195");
    assert_string_equal(shell(place, "PRAGMA user_version"), "1");
    assert_string_equal(shell(place, "SELECT schema FROM version"), "1");
    statedb_close(db);
    /* stays for those who can only read */
    assert_int_equal(stat(place->wal, &seen), 0);
    assert_int_equal(seen.st_size, 0);
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "0");
    statedb_close(open_state(place, STATEDB_DAEMON));
    statedb_close(NULL);
}

/* What may lie under the name, and what is said of it to the daemon and to the tool. */
static void make_garbage(const struct place *place)
{
    FILE *file = fopen(place->path, "w");
    for (int i = 0; i < 9000; i++)
        fputc('x', file);
    fclose(file);
}
static void make_empty(const struct place *place)
{
    close(open(place->path, O_CREAT | O_WRONLY, 0640));
}
static void make_short(const struct place *place)
{
    FILE *file = fopen(place->path, "w");
    fputs("SQLite format 3", file);
    fclose(file);
}
static void make_whole(const struct place *place)
{
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    OK(statedb_begin(db, &why));
    for (uint64_t i = 1; i <= 500; i++) {
        struct decision decision = least_decision(i);
        OK(statedb_put_decision(db, &decision, &why));
    }
    OK(statedb_commit(db, &why));
    statedb_close(db);
}
static void make_truncated(const struct place *place)
{
    struct stat seen;
    make_whole(place);
    assert_int_equal(stat(place->path, &seen), 0);
    assert_int_equal(truncate(place->path, seen.st_size / 2), 0);
}
static void make_cut_header(const struct place *place)
{
    make_whole(place);
    assert_int_equal(truncate(place->path, 50), 0);
}
static void make_bad_schema_page(const struct place *place)
{
    make_whole(place);
    int file = open(place->path, O_WRONLY);
    for (int i = 100; i < 4096; i++)
        assert_int_equal(pwrite(file, "\377", 1, i), 1);
    close(file);
}
static void make_link(const struct place *place)
{
    char other[160];
    make_whole(place);
    snprintf(other, sizeof other, "%s.other", place->path);
    assert_int_equal(rename(place->path, other), 0);
    assert_int_equal(symlink(other, place->path), 0);
}
static void make_dangling_link(const struct place *place)
{
    assert_int_equal(symlink("/nowhere/at/all", place->path), 0);
}
static void make_folder(const struct place *place)
{
    assert_int_equal(mkdir(place->path, 0700), 0);
}
static void make_fifo(const struct place *place)
{
    assert_int_equal(mkfifo(place->path, 0600), 0);
}
static void make_foreign(const struct place *place)
{
    shell(place, "CREATE TABLE contact (name TEXT); INSERT INTO contact VALUES ('Tanaka')");
}
static void make_foreign_mark(const struct place *place)
{
    shell(place, "PRAGMA application_id = 1397050185"); /* a policy */
}
static void make_newer(const struct place *place)
{
    make_whole(place);
    shell(place, "PRAGMA user_version = 2");
}
static void make_newer_row(const struct place *place)
{
    make_whole(place);
    shell(place, "PRAGMA ignore_check_constraints = 1; UPDATE version SET schema = 2;"
                 "PRAGMA user_version = 0");
}
static void make_no_table(const struct place *place)
{
    make_whole(place);
    shell(place, "DROP TABLE counter");
}
static void make_no_column(const struct place *place)
{
    make_whole(place);
    shell(place, "ALTER TABLE decision RENAME COLUMN host TO hostname");
}
static void make_utf16(const struct place *place)
{
    shell(place, "PRAGMA encoding = 'UTF-16'; CREATE TABLE version (schema); "
                 "INSERT INTO version VALUES (1)");
}
static void make_wal_alone(const struct place *place)
{
    FILE *file = fopen(place->wal, "w");
    fputs("something that nobody has read yet", file);
    fclose(file);
}
static void make_empty_and_wal(const struct place *place)
{
    make_empty(place);
    make_wal_alone(place);
}
static void make_restored(const struct place *place)
{
    make_whole(place);
    shell(place, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 0;"
                 "PRAGMA application_id = 0");
}
static void make_nothing(const struct place *place)
{
    (void)place;
}

static const struct {
    const char *name;
    void (*make)(const struct place *);
    enum status daemon, tool;
    const char *says; /* to the daemon, part of it */
} files[] = {
    {"nothing", make_nothing, STATUS_OK, STATUS_BUSY, ""},
    {"empty", make_empty, STATUS_OK, STATUS_BUSY, ""},
    {"whole", make_whole, STATUS_OK, STATUS_OK, ""},
    {"restored from .dump", make_restored, STATUS_OK, STATUS_OK, ""},
    {"garbage", make_garbage, STATUS_BAD, STATUS_BAD, "not a database"},
    {"short", make_short, STATUS_BAD, STATUS_BAD, "not a database"},
    {"truncated", make_truncated, STATUS_BAD, STATUS_BAD, "malformed"},
    {"cut in its header", make_cut_header, STATUS_BAD, STATUS_BAD, "malformed"},
    {"schema overwritten", make_bad_schema_page, STATUS_BAD, STATUS_BAD, "malformed"},
    {"symbolic link", make_link, STATUS_BAD, STATUS_BAD, "symbolic link"},
    {"dangling link", make_dangling_link, STATUS_BAD, STATUS_BAD, "symbolic link"},
    {"folder", make_folder, STATUS_BAD, STATUS_BAD, "not a file"},
    {"FIFO", make_fifo, STATUS_BAD, STATUS_BAD, "not a file"},
    {"foreign", make_foreign, STATUS_BAD, STATUS_BAD, "not a state of sekisho"},
    {"a policy's mark", make_foreign_mark, STATUS_BAD, STATUS_BAD, "not a state of sekisho"},
    {"newer", make_newer, STATUS_BAD, STATUS_BAD, "made by a newer sekisho (schema 2"},
    {"newer by its row", make_newer_row, STATUS_BAD, STATUS_BAD, "made by a newer sekisho"},
    {"table missing", make_no_table, STATUS_BAD, STATUS_BAD, "no such table: main.counter"},
    {"column missing", make_no_column, STATUS_BAD, STATUS_BAD, "no column named host"},
    {"UTF-16", make_utf16, STATUS_BAD, STATUS_BAD, "not a state of sekisho"},
    {"-wal alone", make_wal_alone, STATUS_BAD, STATUS_BUSY, "is gone, but"},
    {"empty with -wal", make_empty_and_wal, STATUS_BAD, STATUS_BUSY, "is empty, but"},
};

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        static const enum statedb_use uses[] = {STATEDB_READ, STATEDB_TOOL, STATEDB_DAEMON};
        void *made = NULL;
        struct stat before, after;

        place_make(&made);
        struct place *place = made;
        files[i].make(place);
        memset(&before, 0, sizeof before);
        memset(&after, 0, sizeof after);
        lstat(place->path, &before);
        for (size_t u = 0; u < COUNT_OF(uses); u++) {
            enum status expected = uses[u] == STATEDB_DAEMON ? files[i].daemon : files[i].tool;
            struct statedb *db = NULL;
            enum status status = try_open(place->path, uses[u], &db);

            if (status != expected ||
                (uses[u] == STATEDB_DAEMON && strstr(why.text, files[i].says) == NULL)) {
                fail_msg("%s, use %d: %d, %s", files[i].name, (int)uses[u], (int)status, why.text);
            }
            statedb_close(db);
        }
        /* what will not do is not touched */
        lstat(place->path, &after);
        if (files[i].daemon != STATUS_OK) {
            assert_true(before.st_ino == after.st_ino && before.st_size == after.st_size);
        }
        place_remove(&made);
    }
}

/* A file restored from .dump is ours again, with its marks and in WAL mode. */
static void test_restored(void **state)
{
    const struct place *place = *state;

    make_restored(place);
    statedb_close(open_state(place, STATEDB_DAEMON));
    assert_string_equal(shell(place, "PRAGMA application_id"), "1397050195");
    assert_string_equal(shell(place, "PRAGMA user_version"), "1");
    assert_string_equal(shell(place, "PRAGMA journal_mode"), "wal");
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "500");
}

/* Runs in a child process, because it gives up rights or mounts something. */
static void in_child(void (*run)(const struct place *), const struct place *place)
{
    int end = 0;
    pid_t child = fork();

    if (child == 0) {
        run(place);
        fflush(NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &end, 0), child);
    assert_int_equal(end, 0);
}

#define CHILD(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static enum status open_quietly(const char *path, enum statedb_use use, struct statedb **db)
{
    enum status status = statedb_open(path, use, 50, db, NULL, &why);

    if (status == STATUS_BUSY) {
        fprintf(stderr, "%s\n", why.text);
    }
    return status;
}

static void as_nobody(const struct place *place)
{
    struct statedb *db = NULL;
    struct taken taken = {0};
    struct statedb_filter filter = {0};
    char other[128];

    CHILD(geteuid() != 0 || setuid(65534) == 0);
    /* reads, although it can make no file here; writes nothing */
    CHILD(open_quietly(place->path, STATEDB_READ, &db) == STATUS_OK);
    filter.most = 5;
    CHILD(statedb_decisions(db, &filter, take_decision, &taken, &why) == STATUS_OK);
    CHILD(taken.count == 5);
    CHILD(statedb_begin(db, &why) == STATUS_OK);
    CHILD(statedb_put_value(db, "a", "b", &why) == STATUS_BROKEN);
    statedb_close(db);
    CHILD(open_quietly(place->path, STATEDB_DAEMON, &db) == STATUS_BROKEN);
    snprintf(other, sizeof other, "%s/other.db", place->folder);
    CHILD(open_quietly(other, STATEDB_DAEMON, &db) == STATUS_BROKEN);
}

static void test_folder_read_only(void **state)
{
    const struct place *place = *state;
    struct statedb *db = NULL;

    make_whole(place);
    assert_int_equal(chmod(place->path, 0444), 0);
    assert_int_equal(chmod(place->wal, 0444), 0);
    assert_int_equal(chmod(place->shm, 0444), 0);
    assert_int_equal(chmod(place->folder, 0555), 0);
    in_child(as_nobody, place);
    assert_int_equal(chmod(place->folder, 0755), 0);
    assert_int_equal(try_open("/nowhere/at/all/state.db", STATEDB_DAEMON, &db), STATUS_BROKEN);
}

static enum status fill(struct statedb *db, uint64_t *next)
{
    enum status status = statedb_begin(db, &why);

    for (int i = 0; status == STATUS_OK && i < 500; i++) {
        struct decision decision = least_decision(*next + (uint64_t)i);
        decision.row_text = text_from("a row of some length, so that the disk is full soon");
        status = statedb_put_decision(db, &decision, &why);
    }
    if (status == STATUS_OK) {
        status = statedb_commit(db, &why);
    }
    *next += status == STATUS_OK ? 500 : 0;
    return status;
}

static void on_full_disk(const struct place *place)
{
    struct statedb *db = NULL;
    struct taken taken = {0};
    struct statedb_filter filter = {0};
    char filler[128];
    uint64_t next = 1;
    enum status status = STATUS_OK;

    CHILD(unshare(CLONE_NEWNS) == 0);
    CHILD(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHILD(mount("tmpfs", place->folder, "tmpfs", 0, "size=2m") == 0);
    /* no room to make it, and then there is */
    snprintf(filler, sizeof filler, "%s/filler", place->folder);
    int file = open(filler, O_CREAT | O_WRONLY, 0600);
    char block[4096] = "x";
    while (write(file, block, sizeof block) > 0) {
    }
    close(file);
    CHILD(open_quietly(place->path, STATEDB_DAEMON, &db) == STATUS_BROKEN);
    CHILD(truncate(filler, 500000) == 0);
    CHILD(open_quietly(place->path, STATEDB_DAEMON, &db) == STATUS_OK);
    for (int i = 0; status == STATUS_OK && i < 100; i++) {
        status = fill(db, &next);
    }
    CHILD(status == STATUS_BROKEN);
    CHILD(next > 1);
    CHILD(statedb_commit(db, &why) == STATUS_BROKEN); /* it was undone */
    /* what was committed is there, what was not is not; and it goes on when there is room */
    filter.number = next - 1;
    CHILD(statedb_decisions(db, &filter, take_decision, &taken, &why) == STATUS_OK);
    filter.number = next;
    CHILD(statedb_decisions(db, &filter, take_decision, &taken, &why) == STATUS_OK);
    CHILD(taken.count == 1 && taken.number[0] == next - 1);
    CHILD(unlink(filler) == 0);
    CHILD(fill(db, &next) == STATUS_OK);
    CHILD(statedb_sync(db, &why) == STATUS_OK);
    statedb_close(db);
    CHILD(strcmp(shell(place, "PRAGMA quick_check"), "ok") == 0);
}

static void test_full_disk(void **state)
{
    if (geteuid() != 0) {
        skip();
    }
    in_child(on_full_disk, *state);
}

/* -- locked, gone, replaced, damaged ---------------------------------------------------------- */

static void test_locked(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON), *other = NULL;
    struct statedb_request request = {.verb = "lift"};
    struct taken taken = {0};
    struct statedb_filter filter = {0};
    sqlite3 *editor = NULL;

    assert_int_equal(sqlite3_open(place->path, &editor), SQLITE_OK);
    assert_int_equal(sqlite3_exec(editor, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(statedb_begin(db, &why), STATUS_BUSY);
    assert_non_null(strstr(why.text, "locked"));
    assert_int_equal(statedb_ask(db, &request, NOW, &why), STATUS_BUSY);
    OK(statedb_decisions(db, &filter, take_decision, &taken, &why)); /* readers do not wait */
    other = open_state(place, STATEDB_TOOL);
    statedb_close(other);
    assert_int_equal(sqlite3_exec(editor, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    OK(statedb_begin(db, &why));
    OK(statedb_commit(db, &why));
    /* a file that is still to be put into WAL mode cannot be opened while somebody has it */
    statedb_close(db);
    sqlite3_exec(editor, "PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE", NULL, NULL, NULL);
    assert_int_equal(try_open(place->path, STATEDB_DAEMON, &db), STATUS_BUSY);
    assert_int_equal(try_open(place->path, STATEDB_READ, &db), STATUS_BUSY);
    sqlite3_close(editor);
    statedb_close(open_state(place, STATEDB_DAEMON));
}

static void test_same(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    char away[160];
    uint64_t next = 1;

    assert_true(statedb_same(db));
    OK(fill(db, &next));
    assert_true(statedb_same(db));
    snprintf(away, sizeof away, "%s.away", place->path);
    assert_int_equal(rename(place->path, away), 0);
    assert_false(statedb_same(db));
    assert_int_equal(rename(away, place->path), 0);
    assert_true(statedb_same(db));
    assert_int_equal(unlink(place->wal), 0);
    assert_false(statedb_same(db));
    statedb_close(db); /* brings what was in the removed -wal into the file */
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "500");
}

/* Written over while it is open: noticed before more is added. */
static void test_whole(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    uint64_t next = 1;
    char page[4096];

    memset(page, 0xa5, sizeof page);
    for (int i = 0; i < 20; i++) {
        OK(fill(db, &next));
        OK(statedb_whole(db, &why));
    }
    assert_string_equal(shell(place, "PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    OK(statedb_whole(db, &why)); /* another program's checkpoint is none */
    FILE *file = fopen(place->path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 100L * (long)sizeof page, SEEK_SET), 0);
    assert_int_equal(fwrite(page, sizeof page, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(statedb_whole(db, &why), STATUS_BAD);
    assert_int_equal(statedb_whole(db, &why), STATUS_BAD);
    statedb_close(db);
}

/* No memory to look at all pages is no damage: the file would be set aside for nothing. */
static void test_whole_without_memory(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    enum status status = STATUS_BROKEN;
    uint64_t next = 1;
    int failures = 0;

    for (int i = 0; i < 20; i++) {
        OK(fill(db, &next));
    }
    /* pages behind a long text are read in another way */
    shell(place, "INSERT INTO note(at, kind, text)"
                 " VALUES('2026-11-24', 'block', printf('%.900000c', 'x'))");
    assert_string_equal(shell(place, "PRAGMA wal_checkpoint(TRUNCATE)"), "0");
    for (sqlite3_int64 most = sqlite3_memory_used() / 2; status != STATUS_OK; most += 1024) {
        sqlite3_hard_heap_limit64(most);
        status = statedb_whole(db, &why);
        sqlite3_hard_heap_limit64(0);
        assert_true(status == STATUS_OK || status == STATUS_BROKEN);
        failures += status != STATUS_OK;
    }
    assert_true(failures > 0);
    statedb_close(db);
}

/* A tool that brought the -wal into the file would make the daemon look at all of it. */
static void test_tool_leaves_the_file(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON), *tool = NULL;
    struct statedb_request request = {.verb = "lift"};
    struct stat before, after;
    uint64_t next = 1;

    /* more than the thousand pages after which SQLite would do so by itself */
    while (stat(place->wal, &before) != 0 || before.st_size < 1100L * 4096) {
        OK(fill(db, &next));
    }
    assert_int_equal(stat(place->path, &before), 0);
    tool = open_state(place, STATEDB_TOOL);
    OK(statedb_ask(tool, &request, NOW, &why));
    statedb_close(tool);
    assert_int_equal(stat(place->path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    assert_int_equal(before.st_size, after.st_size);
    statedb_close(db);
}

/* Removed while it is open: writing does no harm, and a new one can be made. */
static void test_removed(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON), *tool = NULL;
    sqlite3 *reader = NULL;
    uint64_t next = 1;

    assert_int_equal(unlink(place->path), 0);
    OK(fill(db, &next));
    assert_false(statedb_same(db));
    statedb_close(db);
    db = open_state(place, STATEDB_DAEMON);
    assert_true(statedb_same(db));
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "0");
    /* and while a tool reads */
    tool = open_state(place, STATEDB_TOOL);
    assert_int_equal(sqlite3_open(place->path, &reader), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM decision", NULL, NULL, NULL),
                     SQLITE_OK);
    OK(fill(db, &next));
    assert_int_equal(unlink(place->path), 0);
    OK(fill(db, &next));
    statedb_close(db);
    db = open_state(place, STATEDB_DAEMON);
    OK(fill(db, &next));
    assert_false(statedb_same(tool));
    statedb_close(tool);
    sqlite3_close(reader);
    assert_true(statedb_same(db));
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "500");
    assert_string_equal(shell(place, "PRAGMA integrity_check"), "ok");
    statedb_close(db);
}

/* Replaced by a copy while it is open: what the -wal holds belongs to the old one, wherever it is
 * now, and must not get into the new one. */
static void test_replaced(void **state)
{
    const struct place *place = *state;
    struct place old = *place;
    struct statedb *db = NULL;
    char copy[100];
    uint64_t next = 501;

    make_whole(place);
    snprintf(copy, sizeof copy, "%s/copy.db", place->folder);
    snprintf(old.path, sizeof old.path, "%s/old.db", place->folder);
    db = open_state(place, STATEDB_DAEMON);
    char query[512];
    snprintf(query, sizeof query, "VACUUM INTO '%s'", copy);
    assert_string_equal(shell(place, query), "");
    OK(fill(db, &next));
    OK(fill(db, &next));
    assert_int_equal(rename(place->path, old.path), 0);
    assert_int_equal(rename(copy, place->path), 0);
    assert_false(statedb_same(db));
    OK(fill(db, &next));
    statedb_close(db);
    db = open_state(place, STATEDB_DAEMON);
    assert_string_equal(shell(place, "PRAGMA integrity_check"), "ok");
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "500");
    statedb_close(db);
    assert_string_equal(shell(&old, "SELECT count(*) FROM decision"), "2000");
    /* by what is no database at all */
    db = open_state(place, STATEDB_DAEMON);
    snprintf(old.path, sizeof old.path, "%s", copy);
    make_garbage(&old);
    assert_int_equal(rename(copy, place->path), 0);
    assert_false(statedb_same(db));
    statedb_close(db);
    assert_int_equal(try_open(place->path, STATEDB_DAEMON, &db), STATUS_BAD);
}

/* Cut while it is open. */
static void test_cut(void **state)
{
    const struct place *place = *state;
    struct taken taken = {.enough = 63};
    struct statedb_filter filter = {.above = 400};
    struct statedb *db = NULL;

    make_whole(place);
    db = open_state(place, STATEDB_DAEMON);
    assert_int_equal(truncate(place->path, 8192), 0);
    assert_int_equal(statedb_decisions(db, &filter, take_decision, &taken, &why), STATUS_BAD);
    statedb_close(db);
    assert_int_equal(try_open(place->path, STATEDB_DAEMON, &db), STATUS_BAD);
}

/* A page deep in the file: whoever meets it says so, and the file can be set aside. */
static void test_damaged_page(void **state)
{
    const struct place *place = *state;
    struct statedb *db = NULL;
    struct taken taken = {.enough = 63};
    struct statedb_filter filter = {.above = 400};
    char aside[4096] = "";

    make_whole(place);
    sqlite3_int64 page = strtoll(
        shell(place, "SELECT rootpage FROM sqlite_master WHERE name = 'decision'"), NULL, 10);
    int file = open(place->path, O_WRONLY);
    for (int i = 0; i < 4096; i++) {
        assert_int_equal(pwrite(file, "\377", 1, (page - 1) * 4096 + i), 1);
    }
    close(file);
    db = open_state(place, STATEDB_DAEMON);
    assert_int_equal(statedb_decisions(db, &filter, take_decision, &taken, &why), STATUS_BAD);
    struct decision decision = least_decision(1000);
    OK(statedb_begin(db, &why));
    assert_int_equal(statedb_put_decision(db, &decision, &why), STATUS_BAD);
    assert_non_null(strstr(why.text, "malformed"));
    assert_int_equal(statedb_put_decision(db, &decision, &why), STATUS_BROKEN);
    assert_non_null(strstr(why.text, "undone"));
    assert_int_equal(statedb_commit(db, &why), STATUS_BROKEN);
    statedb_close(db);
    OK(statedb_set_aside(place->path, NOW, aside, &why));
    assert_int_not_equal(access(place->path, F_OK), 0);
    statedb_close(open_state(place, STATEDB_DAEMON));
}

static void test_set_aside(void **state)
{
    const struct place *place = *state;
    char aside[4096], expected[256], name[4200];
    static const char *const counters[] = {"", "-1", "-3"};

    snprintf(name, sizeof name, "%s.damaged-20261124-030000-2-wal", place->path);
    close(open(name, O_CREAT | O_WRONLY, 0600)); /* taken */
    for (size_t i = 0; i < COUNT_OF(counters); i++) {
        make_whole(place);
        make_wal_alone(place);
        OK(statedb_set_aside(place->path, NOW, aside, &why));
        snprintf(expected, sizeof expected, "%s.damaged-20261124-030000%s", place->path,
                 counters[i]);
        assert_string_equal(aside, expected);
        assert_int_equal(access(aside, F_OK), 0);
        snprintf(name, sizeof name, "%s-wal", aside);
        assert_int_equal(access(name, F_OK), 0);
        snprintf(name, sizeof name, "%s-shm", aside);
        assert_int_equal(access(name, F_OK), 0);
        assert_int_not_equal(access(place->path, F_OK), 0);
        assert_int_not_equal(access(place->wal, F_OK), 0);
        assert_int_not_equal(access(place->shm, F_OK), 0);
    }
    /* a link is set aside itself, a -wal without its file too */
    make_dangling_link(place);
    OK(statedb_set_aside(place->path, NOW + 1000, aside, &why));
    assert_true(readlink(aside, name, sizeof name) > 0);
    make_wal_alone(place);
    OK(statedb_set_aside(place->path, NOW + 2000, aside, &why));
    statedb_close(open_state(place, STATEDB_DAEMON));
    memset(aside, 'x', sizeof aside - 1);
    aside[sizeof aside - 1] = '\0';
    char longest[4096];
    memcpy(longest, aside, sizeof longest);
    assert_int_equal(statedb_set_aside(longest, NOW, aside, &why), STATUS_BROKEN);
}

/* -- upgrades --------------------------------------------------------------------------------- */

static void test_upgrade(void **state)
{
    const struct place *place = *state;
    static const char *const steps[] = {
        "CREATE TABLE version (schema INTEGER); INSERT INTO version VALUES (1)",
        "CREATE TABLE two (a); UPDATE version SET schema = 2",
        "INSERT INTO two VALUES (3); UPDATE version SET schema = 3",
        "INSERT INTO two VALUES (4); INSERT INTO nowhere VALUES (5)",
    };
    sqlite3 *db = NULL, *editor = NULL;
    int version = 7;

    OK(db_open(place->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0, &db, &why));
    OK(db_version(db, "it", &version, &why));
    assert_int_equal(version, 0);
    OK(db_upgrade(db, "it", steps, 1, 99, &why));
    OK(db_version(db, "it", &version, &why));
    assert_int_equal(version, 1);
    assert_string_equal(shell(place, "SELECT count(*) FROM two"), "no such table: two");
    OK(db_upgrade(db, "it", steps, 3, 99, &why));
    assert_string_equal(shell(place, "SELECT group_concat(a) FROM two"), "3");
    assert_string_equal(shell(place, "PRAGMA user_version"), "3");
    assert_string_equal(shell(place, "PRAGMA application_id"), "99");
    /* somebody was faster: nothing is done twice */
    OK(db_upgrade(db, "it", steps, 3, 99, &why));
    OK(db_upgrade(db, "it", steps, 2, 99, &why));
    assert_string_equal(shell(place, "PRAGMA user_version"), "3");
    assert_string_equal(shell(place, "SELECT group_concat(a) FROM two"), "3");
    /* .dump loses user_version: the row says it */
    shell(place, "PRAGMA user_version = 0");
    OK(db_upgrade(db, "it", steps, 3, 99, &why));
    assert_string_equal(shell(place, "PRAGMA user_version"), "3");
    assert_string_equal(shell(place, "SELECT group_concat(a) FROM two"), "3");
    /* a step that fails leaves nothing */
    assert_int_equal(db_upgrade(db, "it", steps, 4, 99, &why), STATUS_BAD);
    assert_non_null(strstr(why.text, "no such table: nowhere"));
    assert_string_equal(shell(place, "SELECT group_concat(a) FROM two"), "3");
    assert_string_equal(shell(place, "PRAGMA user_version"), "3");
    /* locked */
    assert_int_equal(sqlite3_open(place->path, &editor), SQLITE_OK);
    assert_int_equal(sqlite3_exec(editor, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(db_upgrade(db, "it", steps, 3, 99, &why), STATUS_BUSY);
    sqlite3_close(editor);
    sqlite3_close(db);
}

/* -- decisions -------------------------------------------------------------------------------- */

static char long_text[70001];
static const char latin1[] = "caf\xe9@example.jp", with_nul[] = "a\0b@example.jp";

static void look_full(const struct statedb_decision *stored)
{
    const struct decision *d = &stored->decision;
    const struct verdict *v = &d->verdict;
    const struct ip client = ip_from_ipv4((const unsigned char[]){192, 0, 2, 1});

    assert_string_equal(stored->at, "2026-11-24 03:00:00.123");
    assert_false(stored->ended);
    assert_int_equal(d->kind, RECORD_DECISION);
    assert_true(d->wall == NOW + 123 && d->number == INT64_MAX && d->generation == 17);
    assert_int_equal(d->post, POST_DOOR);
    assert_true(d->client_known && d->listener_known && d->submission && d->not_for_mta &&
                d->mta_refused);
    assert_int_equal(ip_compare(&d->client, &client), 0);
    assert_int_equal(d->listener.byte[15], 9);
    assert_string_equal(d->client_name.text.bytes, "host.example.net");
    assert_int_equal(d->client_name.whole, 16);
    assert_int_equal(d->helo.text.size, DECISION_TEXT);
    assert_int_equal(d->helo.whole, 70000);
    assert_string_equal(d->host.text.bytes, "mx.example.jp");
    assert_string_equal(d->login.text.bytes, "\xe5\xa4\xaa\xe9\x83\x8e");
    assert_int_equal(d->sender.text.size, sizeof latin1 - 1);
    assert_memory_equal(d->sender.text.bytes, latin1, sizeof latin1);
    assert_int_equal(d->recipient.text.size, sizeof with_nul - 1);
    assert_memory_equal(d->recipient.text.bytes, with_nul, sizeof with_nul);
    assert_int_equal(d->recipient.whole, 600);
    assert_string_equal(d->session.bytes, "s1");
    assert_string_equal(d->queue.bytes, "4XyZ");
    assert_string_equal(d->row_text.bytes, "192.0.2.0/24 reject");
    assert_string_equal(d->observed_row_text.bytes, "observed");
    assert_string_equal(d->subject[SUBJECT_IDENTITY].bytes, "identity:taro");
    assert_string_equal(d->subject[SUBJECT_CLIENT].bytes, "");
    assert_int_equal(v->action, ACTION_REFUSE);
    assert_int_equal(v->reason, REASON_CLIENT_LISTED);
    assert_int_equal(v->check, CHECK_LISTED);
    assert_true(v->rule.table == TABLE_IP_RANGE && v->rule.row == 7);
    assert_int_equal(v->kind, KIND_SUBMISSION);
    assert_true(v->recipient_local && v->observed);
    assert_int_equal(v->observed_reason, REASON_SENDER_NULL);
    assert_true(v->observed_rule.table == TABLE_CHECK_MODE && v->observed_rule.row == 6);
    assert_true(v->limit.rule.table == TABLE_RATE_LIMIT && v->limit.rule.row == 5);
    assert_int_equal(v->limit.subject, SUBJECT_IDENTITY);
    assert_int_equal(v->limit.counts, COUNTS_RECIPIENTS);
    assert_true(v->limit.count == 3 && v->limit.allowed == 200 && v->limit.seconds == 3600 &&
                v->limit.wait == 12345);
    assert_true(d->blocks);
    assert_string_equal(d->block_subject.bytes, "client:192.0.2.1");
}

static void test_decision_full(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct decision d = least_decision(INT64_MAX);
    struct taken taken = {.look = look_full};
    struct statedb_filter filter = {0};

    memset(long_text, 'h', sizeof long_text - 1);
    d.wall = NOW + 123;
    d.generation = 17;
    d.post = POST_DOOR;
    d.client_known = d.listener_known = d.submission = d.not_for_mta = d.mta_refused = true;
    d.client = ip_from_ipv4((const unsigned char[]){192, 0, 2, 1});
    d.listener = ip_from_ipv6((const unsigned char[16]){0x20, 1, 0xd, 0xb8, [15] = 9});
    d.client_name = kept_from("host.example.net");
    d.helo = (struct kept_text){{long_text, 70000}, 0};
    d.host = kept_from("mx.example.jp");
    d.login = kept_from("\xe5\xa4\xaa\xe9\x83\x8e");
    d.sender = (struct kept_text){{latin1, sizeof latin1 - 1}, sizeof latin1 - 1};
    d.recipient = (struct kept_text){{with_nul, sizeof with_nul - 1}, 600};
    d.session = text_from("s1");
    d.queue = text_from("4XyZ");
    d.row_text = text_from("192.0.2.0/24 reject");
    d.observed_row_text = text_from("observed");
    d.subject[SUBJECT_CLIENT] = text_from("client:192.0.2.1");
    d.subject[SUBJECT_IDENTITY] = text_from("identity:taro");
    d.verdict = (struct verdict){
        .action = ACTION_REFUSE,
        .reason = REASON_CLIENT_LISTED,
        .check = CHECK_LISTED,
        .rule = {TABLE_IP_RANGE, 7},
        .kind = KIND_SUBMISSION,
        .recipient_local = true,
        .observed = true,
        .observed_reason = REASON_SENDER_NULL,
        .observed_rule = {TABLE_CHECK_MODE, 6},
        .limit = {{TABLE_RATE_LIMIT, 5}, SUBJECT_IDENTITY, COUNTS_RECIPIENTS, 3, 200, 3600, 12345},
    };
    d.blocks = true;
    d.block_subject = text_from("client:192.0.2.1");
    put_decision(db, &d);
    OK(statedb_decisions(db, &filter, take_decision, &taken, &why));
    assert_int_equal(taken.count, 1);
    assert_string_equal(shell(place, "SELECT lengths FROM decision"), "helo=70000 recipient=600");
    assert_string_equal(shell(place, "SELECT typeof(login) || typeof(sender) || typeof(recipient)"
                                     " || typeof(client) FROM decision"),
                        "textblobblobtext");
    assert_string_equal(shell(place, "SELECT client || ' ' || listener FROM decision"),
                        "192.0.2.1 2001:db8::9");
    assert_string_equal(shell(place, "PRAGMA quick_check"), "ok");
    statedb_close(db);
}

static void look_least(const struct statedb_decision *stored)
{
    const struct decision *d = &stored->decision;

    assert_false(stored->ended || d->client_known || d->listener_known || d->submission ||
                 d->not_for_mta || d->mta_refused || d->blocks || d->verdict.observed ||
                 d->verdict.recipient_local);
    assert_int_equal(d->verdict.check, CHECK_NONE);
    assert_int_equal(d->verdict.rule.table, TABLE_NONE);
    assert_int_equal(d->verdict.limit.rule.table, TABLE_NONE);
    assert_string_equal(d->login.text.bytes, "");
    assert_int_equal(d->login.whole, 0);
    assert_string_equal(d->queue.bytes, "");
}

static void test_decision_least(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct decision d = least_decision(48213);
    struct taken taken = {.look = look_least};
    struct statedb_filter filter = {0};

    put_decision(db, &d);
    /* by its number it is there already; without a number there is nothing to put */
    d.recipient = kept_from("other");
    put_decision(db, &d);
    d.number = 0;
    put_decision(db, &d);
    OK(statedb_decisions(db, &filter, take_decision, &taken, &why));
    assert_int_equal(taken.count, 1);
    assert_string_equal(shell(place, "SELECT count(*) || ifnull(recipient, '') FROM decision"),
                        "1");
    assert_string_equal(shell(place, "PRAGMA quick_check"), "ok");
    statedb_close(db);
}

/* Every value of every enum passes the CHECKs of the tables, which the daemon does not ask. */
static void test_decision_words(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    uint64_t number = 0;

    for (int reason = 0; reason < REASON_COUNT; reason++) {
        for (int i = 0; i <= CHECK_COUNT; i++) {
            struct decision d = least_decision(++number);
            d.verdict.reason = (enum reason)reason;
            d.verdict.action = reason_row((enum reason)reason)->action;
            d.verdict.check = (enum check)i;
            d.verdict.kind = (enum sender_kind)(i % 5);
            d.outcome = (enum outcome)(i % 4);
            d.post = (enum post)(i % 2);
            d.verdict.rule.table = (enum table)(number % TABLE_COUNT);
            d.verdict.limit.rule.table = TABLE_RATE_LIMIT;
            d.verdict.limit.subject = (enum subject)(i % SUBJECT_COUNT);
            put_decision(db, &d);
        }
    }
    assert_string_equal(shell(place, "PRAGMA quick_check"), "ok");
    assert_string_equal(shell(place, "SELECT count(DISTINCT reason) FROM decision"), "33");
    assert_string_equal(shell(place, "SELECT count(*) FROM decision WHERE outcome IS NULL"), "99");
    statedb_close(db);
}

/* Which texts are text, and which a blob. */
static const struct {
    const char *name, *bytes;
    size_t size;
    const char *type;
} texts[] = {
    {"none", "", 0, "null"},
    {"ASCII", "<taro@example.jp>", 17, "text"},
    {"control characters", "a\x1b\x01\x7f", 4, "text"},
    {"two octets", "\xc2\x80\xdf\xbf", 4, "text"},
    {"three octets", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", 9, "text"},
    {"four octets", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, "text"},
    {"behind eight of ASCII", "12345678\xe4\xbe\x8b", 11, "text"},
    {"NUL", "\0", 1, "blob"},
    {"NUL among eight",
     "1234\0"
     "678",
     8, "blob"},
    {"NUL as the eighth", "1234567\0", 8, "blob"},
    {"Latin-1", "caf\xe9", 4, "blob"},
    {"Latin-1 behind eight", "12345678\xe9", 9, "blob"},
    {"continuation alone", "\x80", 1, "blob"},
    {"overlong slash", "\xc0\xaf", 2, "blob"},
    {"overlong of three", "\xe0\x9f\xbf", 3, "blob"},
    {"overlong of four", "\xf0\x8f\xbf\xbf", 4, "blob"},
    {"surrogate", "\xed\xa0\x80", 3, "blob"},
    {"beyond Unicode", "\xf4\x90\x80\x80", 4, "blob"},
    {"0xf5", "\xf5\x80\x80\x80", 4, "blob"},
    {"cut after one", "\xe4", 1, "blob"},
    {"cut after two", "\xe4\xbe", 2, "blob"},
    {"cut after three", "\xf0\x90\x80", 3, "blob"},
    {"third is none", "\xe4\xbe\x28", 3, "blob"},
    {"fourth is none", "\xf0\x90\x80\x28", 4, "blob"},
};

static void test_texts(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct decision d = least_decision(i + 1);
        char query[128];
        /* memory of exactly that size: reading too far is seen */
        char *exact = malloc(texts[i].size + (texts[i].size == 0));
        assert_non_null(exact);
        memcpy(exact, texts[i].bytes, texts[i].size);
        d.sender.text = (struct text){exact, texts[i].size};
        put_decision(db, &d);
        free(exact);
        snprintf(query, sizeof query,
                 "SELECT typeof(sender) || ' ' || ifnull(length(CAST(sender AS BLOB)), 0) "
                 "FROM decision WHERE number = %zu",
                 i + 1);
        char expected[64];
        snprintf(expected, sizeof expected, "%s %zu", texts[i].type, texts[i].size);
        if (strcmp(shell(place, query), expected) != 0) {
            fail_msg("%s: %s, expected %s", texts[i].name, shell(place, query), expected);
        }
    }
    statedb_close(db);
}

static void test_end(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    const uint64_t numbers[] = {2, 77, 3};
    struct decision end = {.kind = RECORD_END,
                           .outcome = OUTCOME_REJECTED,
                           .numbers = 3,
                           .number_list = numbers,
                           .queue = {"4XyZ", 4}};

    for (uint64_t i = 1; i <= 3; i++) {
        struct decision d = least_decision(i);
        put_decision(db, &d);
    }
    OK(statedb_begin(db, &why));
    OK(statedb_put_end(db, &end, &why));
    /* known already, and an end that does not know it */
    end.queue = text_from("");
    end.outcome = OUTCOME_ABORTED;
    end.numbers = 1;
    OK(statedb_put_end(db, &end, &why));
    OK(statedb_commit(db, &why));
    assert_string_equal(
        shell(place, "SELECT group_concat(number || ifnull(outcome, '?') || ifnull(queue_id, '?'),"
                     " ' ') FROM (SELECT * FROM decision ORDER BY number)"),
        "1?? 2aborted4XyZ 3rejected4XyZ");
    /* written again, with what became of it: that alone is taken; without, nothing is */
    for (uint64_t i = 1; i <= 3; i++) {
        struct decision d = least_decision(i);
        d.outcome = i == 3 ? OUTCOME_OPEN : OUTCOME_ACCEPTED;
        d.queue = text_from(i == 1 ? "5Abc" : "");
        d.recipient.text = text_from("<another@example.jp>");
        put_decision(db, &d);
    }
    assert_string_equal(
        shell(place, "SELECT group_concat(number || ifnull(outcome, '?') || ifnull(queue_id, '?'),"
                     " ' ') FROM (SELECT * FROM decision ORDER BY number)"),
        "1accepted5Abc 2accepted4XyZ 3rejected4XyZ");
    assert_string_equal(
        shell(place, "SELECT count(*) FROM decision WHERE recipient='<another@example.jp>'"), "0");
    statedb_close(db);
}

/* ---- the log: rows, then filters ---- */

static const struct {
    uint64_t number;
    int64_t after; /* seconds after NOW */
    const char *client, *login, *sender, *recipient;
    enum reason reason;
} stored[] = {
    {10, 0, "192.0.2.1", "", "<Taro@Example.jp>", "<hanako@example.com>", REASON_RELAY_DENIED},
    {11, 10, "192.0.2.200", "Taro", "<taro@example.jp>", "<a@\xe4\xbe\x8b.jp>",
     REASON_PASS_IDENTITY},
    {12, 20, "2001:db8::7", "hanako", "<>", "postmaster", REASON_PASS_LOCAL},
    {20, 15, "198.51.100.9", "", "<a@b@c>", "<\"hanako\"@EXAMPLE.com>", REASON_CLIENT_DEFERRED},
    {21, 40, "", "", "", "<x@sub.example.com>", REASON_CLIENT_LISTED},
    {22, 30, "192.0.2.1", "taro@realm", "<taro+tag@example.jp>", "<caf\xe9@example.com>",
     REASON_RATE_IDENTITY},
};

#define ALL_OPEN .since = 0
static const struct {
    const char *name;
    struct statedb_filter filter;
    const char *numbers;
} filters[] = {
    {"all", {ALL_OPEN}, "10 11 12 20 21 22"},
    {"newest first", {.newest_first = true}, "22 21 20 12 11 10"},
    {"most", {.most = 2}, "10 11"},
    {"the newest", {.newest_first = true, .most = 1}, "22"},
    {"most of what fits", {.reason = "relay-denied", .most = 1}, "10"},
    {"since", {.since = NOW + 15000}, "12 20 21 22"},
    {"since a moment later", {.since = NOW + 15001}, "12 21 22"},
    {"until", {.until = NOW + 15000}, "10 11"},
    {"until a moment later", {.until = NOW + 15001}, "10 11 20"},
    {"between", {.since = NOW + 10000, .until = NOW + 31000}, "11 12 20 22"},
    {"between, newest first",
     {.since = NOW + 10000, .until = NOW + 31000, .newest_first = true},
     "22 20 12 11"},
    {"nothing that late", {.since = NOW + 3600000}, ""},
    {"nothing that early", {.until = NOW}, ""},
    {"beyond all years", {.since = INT64_MAX}, ""},
    {"a number", {.number = 20}, "20"},
    {"a number in a time", {.number = 12, .since = NOW + 1}, "12"},
    {"a number out of a time", {.number = 12, .until = NOW + 1}, ""},
    {"no such number", {.number = 13}, ""},
    {"a number beyond all", {.number = UINT64_MAX}, ""},
    {"above", {.above = 12}, "20 21 22"},
    {"above a number and it", {.above = 12, .number = 12}, ""},
    {"above all", {.above = UINT64_MAX}, ""},
    {"above, since", {.above = 11, .since = NOW + 1000}, "12 20 21 22"},
    {"client", {.client = "192.0.2.1"}, "10 22"},
    {"block", {.client = "192.0.2.0/24"}, "10 11 22"},
    {"range", {.client = "192.0.2.2-198.51.100.9"}, "11 20"},
    {"IPv6", {.client = "2001:DB8::/32"}, "12"},
    {"all of IPv6 is no IPv4", {.client = "::/0"}, "12"},
    {"login", {.login = "taro"}, "11"},
    {"login with realm", {.login = "TARO@realm"}, "22"},
    {"no login", {.login = ""}, "10 20 21"},
    {"sender", {.sender = "taro@example.jp"}, "10 11"},
    {"sender in brackets", {.sender = "<TARO@EXAMPLE.JP.>"}, "10 11"},
    {"sender's domain", {.sender = "@example.jp"}, "10 11 22"},
    {"null sender", {.sender = "<>"}, "12 21"},
    {"null sender, nothing", {.sender = ""}, "12 21"},
    {"malformed sender", {.sender = "A@b@c"}, "20"},
    {"malformed sender in brackets", {.sender = "<a@b@c>"}, "20"},
    {"recipient", {.recipient = "hanako@example.com"}, "10 20"},
    {"recipient's domain", {.recipient = "@EXAMPLE.com"}, "10 20"},
    {"a domain is not its subdomain", {.recipient = "@sub.example.com"}, "21"},
    {"domain in its own script", {.recipient = "@\xe4\xbe\x8b.jp"}, "11"},
    {"domain in A-labels", {.recipient = "a@xn--fsq.jp"}, "11"},
    {"bare", {.recipient = "Postmaster"}, "12"},
    {"no UTF-8", {.recipient = "caf\xe9@example.com"}, "22"},
    {"no domain at all", {.recipient = "@"}, ""},
    {"reason", {.reason = "client-listed"}, "21"},
    {"no such reason", {.reason = "client"}, ""},
    {"accept", {.action = "accept"}, "11 12"},
    {"reject", {.action = "Reject"}, "10 21"},
    {"tempfail", {.action = "tempfail"}, "20 22"},
    {"several", {.action = "reject", .client = "192.0.2.1", .sender = "@example.jp"}, "10"},
    {"several that do not meet", {.action = "accept", .client = "192.0.2.1"}, ""},
};

static void test_filters(void **state)
{
    struct statedb *db = open_state(*state, STATEDB_DAEMON);

    for (size_t i = 0; i < COUNT_OF(stored); i++) {
        struct decision d = least_decision(stored[i].number);
        d.wall = NOW + stored[i].after * 1000;
        d.client_known = ip_parse(stored[i].client, &d.client);
        d.login = kept_from(stored[i].login);
        d.sender = kept_from(stored[i].sender);
        d.recipient = kept_from(stored[i].recipient);
        d.verdict.reason = stored[i].reason;
        d.verdict.action = reason_row(stored[i].reason)->action;
        put_decision(db, &d);
    }
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        struct taken taken = {0};
        char got[256] = "";
        size_t used = 0;

        OK(statedb_decisions(db, &filters[i].filter, take_decision, &taken, &why));
        for (size_t n = 0; n < taken.count; n++) {
            used += (size_t)snprintf(got + used, sizeof got - used, "%s%llu", n > 0 ? " " : "",
                                     (unsigned long long)taken.number[n]);
        }
        if (strcmp(got, filters[i].numbers) != 0) {
            fail_msg("%s: %s, expected %s", filters[i].name, got, filters[i].numbers);
        }
    }
    struct taken enough = {.enough = 2};
    struct statedb_filter filter = {0};
    OK(statedb_decisions(db, &filter, take_decision, &enough, &why));
    assert_int_equal(enough.count, 2);
    filter.client = "10.0.0.0/x";
    assert_int_equal(statedb_decisions(db, &filter, take_decision, &enough, &why), STATUS_BAD);
    assert_non_null(strstr(why.text, "10.0.0.0/x"));
    statedb_close(db);
}

/* -- blocks ------------------------------------------------------------------------------------ */

struct blocks {
    size_t count;
    struct block block[16];
};

static bool take_block(void *context, const struct block *block)
{
    struct blocks *blocks = context;

    assert_true(blocks->count < COUNT_OF(blocks->block));
    blocks->block[blocks->count++] = *block;
    return true;
}

static struct blocks read_blocks(struct statedb *db)
{
    struct blocks blocks = {0};

    OK(statedb_blocks(db, take_block, &blocks, &why));
    return blocks;
}

static void put_block(struct statedb *db, struct block *block)
{
    OK(statedb_begin(db, &why));
    OK(statedb_put_block(db, block, &why));
    OK(statedb_commit(db, &why));
}

static void test_blocks(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct block first = {.key = 5,
                          .subject = "client:192.0.2.1",
                          .since = NOW,
                          .until = NOW + 3600500,
                          .until_steady = 777,
                          .strikes = 3,
                          .reason = REASON_SPAM_TRAP,
                          .rule = {TABLE_SPAM_TRAP, 9},
                          .number = 48213,
                          .note = "a note"};
    struct block second = {.subject = "identity:taro",
                           .since = NOW,
                           .until = INT64_MAX,
                           .until_steady = INT64_MAX,
                           .strikes = 1,
                           .by_hand = true};

    put_block(db, &first);
    put_block(db, &second);
    assert_true(first.row == 1 && second.row == 2);
    struct blocks seen = read_blocks(db);
    assert_int_equal(seen.count, 2);
    const struct block *b = &seen.block[0];
    assert_string_equal(b->subject, "client:192.0.2.1");
    /* whole seconds for people, never too short */
    assert_true(b->key == 0 && b->since == NOW && b->until == NOW + 3601000);
    assert_true(b->until_steady == 777 && b->strikes == 3 && !b->by_hand && b->row == 1);
    assert_true(b->reason == REASON_SPAM_TRAP && b->number == 48213);
    assert_true(b->rule.table == TABLE_SPAM_TRAP && b->rule.row == 9);
    assert_string_equal(b->note, "a note");
    b = &seen.block[1];
    assert_true(b->until == INT64_MAX && b->until_steady == INT64_MAX && b->by_hand);
    assert_true(b->reason == REASON_NONE && b->number == 0 && b->rule.table == TABLE_NONE);
    /* changed: the same row */
    first.until += 1000000;
    first.strikes = 4;
    put_block(db, &first);
    assert_true(first.row == 1);
    seen = read_blocks(db);
    assert_int_equal(seen.count, 2);
    assert_true(seen.block[0].strikes == 4 && seen.block[0].until == NOW + 4601000);
    assert_true(seen.block[0].until_steady == 777); /* no trigger of ours fires for the daemon */
    /* a new one takes the place of its subject's */
    first.row = 0;
    put_block(db, &first);
    assert_true(first.row == 3);
    assert_string_equal(
        shell(place, "SELECT group_concat(id) FROM (SELECT id FROM block ORDER BY id)"), "2,3");
    /* the administrator has deleted it meanwhile, or given the row to somebody else */
    shell(place, "DELETE FROM block WHERE id = 3");
    put_block(db, &first);
    assert_true(first.row == 4);
    shell(place, "UPDATE block SET subject = 'client:192.0.2.99' WHERE id = 4");
    put_block(db, &first);
    assert_true(first.row == 5);
    assert_string_equal(shell(place, "SELECT count(*) FROM block"), "3");
    OK(statedb_begin(db, &why));
    OK(statedb_drop_block(db, 5, &why));
    OK(statedb_drop_block(db, 5, &why));
    OK(statedb_commit(db, &why));
    assert_string_equal(
        shell(place, "SELECT group_concat(id) FROM (SELECT id FROM block ORDER BY id)"), "2,4");
    assert_string_equal(shell(place, "PRAGMA quick_check"), "ok");
    statedb_close(db);
}

/* What the administrator writes in the shell, as the daemon reads it. */
static void test_blocks_by_hand(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct block block = {.subject = "relay:192.0.2.7",
                          .since = NOW,
                          .until = NOW + 1000,
                          .until_steady = 777,
                          .strikes = 1};

    put_block(db, &block);
    assert_string_equal(shell(place, "INSERT INTO block (subject, until) VALUES"
                                     " ('client:192.0.2.1', '2026-11-24 03:00:05');"
                                     "INSERT INTO block (subject) VALUES ('identity:taro');"
                                     "UPDATE block SET until = '2026-11-24 03:00:09' WHERE id = 1"),
                        "");
    struct blocks seen = read_blocks(db);
    assert_int_equal(seen.count, 3);
    assert_true(seen.block[0].until == NOW + 9000 && seen.block[0].until_steady == STATEDB_BY_WALL);
    assert_true(seen.block[1].until == NOW + 5000 && seen.block[1].until_steady == STATEDB_BY_WALL);
    assert_true(seen.block[1].by_hand && seen.block[1].strikes == 1 && seen.block[1].since > 0);
    assert_true(seen.block[2].until == INT64_MAX && seen.block[2].until_steady == INT64_MAX);
    put_block(db, &seen.block[1]);
    assert_string_equal(shell(place, "SELECT until || ifnull(until_steady, '') FROM block"
                                     " WHERE id = 2"),
                        "2026-11-24 03:00:05");
    /* a row that was forced past the CHECKs hides no other */
    shell(place, "PRAGMA ignore_check_constraints = 1;"
                 "UPDATE block SET since = 'x' WHERE id = 1;"
                 "UPDATE block SET until = 'x' WHERE id = 2;"
                 "INSERT INTO block (subject) VALUES (''), (hex(zeroblob(400))), ('a' || char(0));"
                 "INSERT INTO block (subject, strikes, note, reason) VALUES"
                 " ('identity:jiro', -5, hex(zeroblob(400)), 'what')");
    seen = read_blocks(db);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.block[0].subject, "identity:taro");
    assert_string_equal(seen.block[1].subject, "identity:jiro");
    assert_true(seen.block[1].strikes == 1 && seen.block[1].reason == REASON_NONE);
    assert_int_equal(strlen(seen.block[1].note), BLOCK_NOTE - 1);
    statedb_close(db);
}

static void test_changed(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    bool changed = false;
    uint64_t next = 1;

    OK(statedb_changed(db, &changed, &why));
    assert_true(changed);
    OK(statedb_changed(db, &changed, &why));
    assert_false(changed);
    OK(fill(db, &next)); /* our own */
    OK(statedb_changed(db, &changed, &why));
    assert_false(changed);
    shell(place, "INSERT INTO block (subject) VALUES ('identity:taro')");
    OK(statedb_changed(db, &changed, &why));
    assert_true(changed);
    OK(statedb_changed(db, &changed, &why));
    assert_false(changed);
    statedb_close(db);
}

/* -- counters, values, notes, requests ----------------------------------------------------------
 */

struct counters {
    size_t count;
    struct ledger_row row[8];
};

static bool take_counter(void *context, const struct ledger_row *row)
{
    struct counters *counters = context;

    assert_true(counters->count < COUNT_OF(counters->row));
    counters->row[counters->count++] = *row;
    return true;
}

static void test_counters(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct ledger_row rows[3];
    struct counters seen = {0};

    memset(rows, 0, sizeof rows);
    rows[0] = (struct ledger_row){.place = 3,
                                  .hash = UINT64_MAX,
                                  .group = UINT64_C(0x8000000000000000),
                                  .record = 12,
                                  .since = 99,
                                  .allowed = UINT64_MAX - 1,
                                  .bucket = INT64_MAX,
                                  .seconds = 31536000,
                                  .subject = "client:192.0.2.1"};
    for (int i = 0; i < LEDGER_BUCKETS; i++) {
        rows[0].count[i] = UINT32_MAX - (uint32_t)i * 0x01020304;
    }
    rows[1].place = -1;
    rows[1].count[11] = 1;
    rows[2].place = 0;
    OK(statedb_begin(db, &why));
    OK(statedb_put_counters(db, rows, 3, &why));
    OK(statedb_commit(db, &why));
    OK(statedb_counters(db, take_counter, &seen, &why));
    assert_int_equal(seen.count, 3);
    assert_memory_equal(&seen.row[0], &rows[1], sizeof rows[0]);
    assert_memory_equal(&seen.row[1], &rows[2], sizeof rows[0]);
    assert_memory_equal(&seen.row[2], &rows[0], sizeof rows[0]);
    /* the lowest octet first, on every machine */
    assert_string_equal(shell(place, "SELECT hex(substr(count, 5, 4)) FROM counter WHERE place=3"),
                        "FBFCFDFE");
    rows[0].record = 13;
    OK(statedb_begin(db, &why));
    OK(statedb_put_counters(db, rows, 1, &why));
    OK(statedb_commit(db, &why));
    shell(place, "PRAGMA ignore_check_constraints = 1;"
                 "UPDATE counter SET count = x'00' WHERE place = 0;"
                 "UPDATE counter SET seconds = -1 WHERE place = -1");
    memset(&seen, 0, sizeof seen);
    OK(statedb_counters(db, take_counter, &seen, &why));
    assert_int_equal(seen.count, 1);
    assert_true(seen.row[0].record == 13);
    statedb_close(db);
}

static void test_values(void **state)
{
    struct statedb *db = open_state(*state, STATEDB_DAEMON);
    char value[6];

    OK(statedb_value(db, "clock", value, sizeof value, &why));
    assert_string_equal(value, "");
    OK(statedb_begin(db, &why));
    OK(statedb_put_value(db, "clock", "1", &why));
    OK(statedb_put_value(db, "clock", "12345", &why));
    OK(statedb_put_value(db, "long", "123456", &why));
    OK(statedb_commit(db, &why));
    OK(statedb_value(db, "clock", value, sizeof value, &why));
    assert_string_equal(value, "12345");
    assert_int_equal(statedb_value(db, "long", value, sizeof value, &why), STATUS_BAD);
    assert_string_equal(value, "");
    statedb_close(db);
}

/* What is undone leaves nothing; what is not between begin and commit is not written. */
static void test_rollback(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct decision d = least_decision(1);

    OK(statedb_begin(db, &why));
    OK(statedb_put_decision(db, &d, &why));
    statedb_rollback(db);
    statedb_rollback(db);
    assert_int_equal(statedb_put_decision(db, &d, &why), STATUS_BROKEN);
    assert_int_equal(statedb_put_value(db, "a", "b", &why), STATUS_BROKEN);
    assert_int_equal(statedb_commit(db, &why), STATUS_BROKEN);
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "0");
    put_decision(db, &d);
    OK(statedb_sync(db, &why));
    assert_string_equal(shell(place, "SELECT count(*) FROM decision"), "1");
    statedb_close(db);
}

static void test_requests(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct statedb *tool = open_state(place, STATEDB_TOOL);
    struct statedb_request ask = {.verb = "add", .subject = "client:192.0.2.1", .seconds = 3600};
    struct statedb_request second = {.verb = "lift", .subject = "identity:taro"};
    struct statedb_request bad = {.verb = "add", .seconds = -1}, got;
    bool found = true;

    OK(statedb_next_request(db, &got, &found, &why));
    assert_false(found);
    snprintf(ask.note, sizeof ask.note, "Tanaka called");
    OK(statedb_ask(tool, &ask, NOW, &why));
    OK(statedb_ask(tool, &second, NOW, &why));
    assert_true(ask.id == 1 && second.id == 2);
    assert_int_equal(statedb_ask(tool, &bad, NOW, &why), STATUS_BAD);
    assert_non_null(strstr(why.text, "seconds: a whole number of seconds"));
    OK(statedb_answer(tool, &ask, &why));
    assert_false(ask.answered);
    OK(statedb_next_request(db, &got, &found, &why));
    assert_true(found && got.id == 1 && got.seconds == 3600 && !got.answered);
    assert_string_equal(got.verb, "add");
    assert_string_equal(got.subject, "client:192.0.2.1");
    assert_string_equal(got.note, "Tanaka called");
    got.done = true;
    snprintf(got.answer, sizeof got.answer, "blocked");
    OK(statedb_begin(db, &why));
    OK(statedb_put_answer(db, &got, NOW + 1000, &why));
    OK(statedb_commit(db, &why));
    OK(statedb_answer(tool, &ask, &why));
    assert_true(ask.answered && ask.done);
    assert_string_equal(ask.answer, "blocked");
    assert_string_equal(shell(place, "SELECT answered FROM request WHERE id = 1"),
                        "2026-11-24 03:00:01.000");
    OK(statedb_next_request(db, &got, &found, &why));
    assert_true(found && got.id == 2);
    /* given up: only what nobody has answered */
    OK(statedb_take_back(tool, 1, &why));
    OK(statedb_take_back(tool, 2, &why));
    assert_string_equal(shell(place, "SELECT group_concat(id) FROM request"), "1");
    OK(statedb_answer(tool, &second, &why));
    assert_true(second.answered && !second.done);
    assert_string_equal(second.answer, "the request is gone");
    /* one by hand */
    shell(place, "INSERT INTO request (verb, subject) VALUES ('reset', 'client:192.0.2.1')");
    OK(statedb_next_request(db, &got, &found, &why));
    assert_true(found && got.id == 3);
    assert_string_equal(got.verb, "reset");
    assert_string_equal(shell(place, "PRAGMA quick_check"), "ok");
    statedb_close(tool);
    statedb_close(db);
}

static void test_prune(void **state)
{
    const struct place *place = *state;
    struct statedb *db = open_state(place, STATEDB_DAEMON);
    struct statedb_request ask = {.verb = "lift"};
    size_t gone = 7;

    for (uint64_t i = 1; i <= 10; i++) {
        struct decision d = least_decision(i);
        /* the clock was put back between 5 and 6 */
        d.wall = NOW + (int64_t)(i <= 5 ? i + 3 : i - 5) * 1000;
        put_decision(db, &d);
    }
    for (int i = 0; i < 3; i++) {
        OK(statedb_ask(db, &ask, NOW + i / 2 * 10000, &why));
    }
    OK(statedb_begin(db, &why));
    for (int i = 0; i < 2; i++) {
        OK(statedb_put_note(db, NOW + i * 10000, "block", "client:192.0.2.1", 5, "blocked", &why));
    }
    ask.id = 1;
    OK(statedb_put_answer(db, &ask, NOW, &why));
    ask.id = 3;
    OK(statedb_put_answer(db, &ask, NOW, &why));
    OK(statedb_prune(db, NOW, 100, &gone, &why));
    assert_int_equal(gone, 0);
    /* the oldest first: 6 at +1, 7 at +2, 8 at +3 */
    OK(statedb_prune(db, NOW + 5000, 3, &gone, &why));
    assert_int_equal(gone, 3);
    OK(statedb_commit(db, &why));
    assert_string_equal(
        shell(place,
              "SELECT group_concat(number) FROM (SELECT number FROM decision ORDER BY +number)"),
        "1,2,3,4,5,9,10");
    OK(statedb_begin(db, &why));
    OK(statedb_prune(db, NOW + 5000, 100, &gone, &why));
    assert_int_equal(gone, 4); /* 1 and 9 at +4, a note, a request */
    OK(statedb_commit(db, &why));
    assert_string_equal(
        shell(place,
              "SELECT group_concat(number) FROM (SELECT number FROM decision ORDER BY +number)"),
        "2,3,4,5,10");
    assert_string_equal(shell(place, "SELECT group_concat(id) FROM note"), "2");
    assert_string_equal(shell(place, "SELECT kind || subject || number || text || at FROM note"),
                        "blockclient:192.0.2.15blocked2026-11-24 03:00:10.000");
    assert_string_equal(shell(place, "SELECT group_concat(id) FROM request"), "2,3");
    statedb_close(db);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(test_new),
        cmocka_unit_test(test_files),
        PLACED(test_restored),
        PLACED(test_folder_read_only),
        PLACED(test_full_disk),
        PLACED(test_locked),
        PLACED(test_same),
        PLACED(test_whole),
        PLACED(test_whole_without_memory),
        PLACED(test_tool_leaves_the_file),
        PLACED(test_removed),
        PLACED(test_replaced),
        PLACED(test_cut),
        PLACED(test_damaged_page),
        PLACED(test_set_aside),
        PLACED(test_upgrade),
        PLACED(test_decision_full),
        PLACED(test_decision_least),
        PLACED(test_decision_words),
        PLACED(test_texts),
        PLACED(test_end),
        PLACED(test_filters),
        PLACED(test_blocks),
        PLACED(test_blocks_by_hand),
        PLACED(test_changed),
        PLACED(test_counters),
        PLACED(test_values),
        PLACED(test_rollback),
        PLACED(test_requests),
        PLACED(test_prune),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
