/* The book: limits, blocks and traps as sessions meet them, and what a restart finds again. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "desk.h"

/* Asks for one recipient of a message that has begun. */
static struct judged ask_one(struct desk *desk, struct message *message, const char *client,
                             const char *login, const char *sender, const char *recipient)
{
    struct facts facts = desk_facts(POST_MILTER, client, login, sender, recipient);
    struct question question = {&facts, "session", "", REFUSED_BY_NOBODY, 0};
    struct hold hold = {desk->policy, 1, NULL};
    struct judged judged;

    book_judge(desk->book, &hold, &question, message, desk->now, &judged);
    return judged;
}

static void begin(struct message *message, const char *sender)
{
    memset(message, 0, sizeof *message);
    assert_int_equal(message_begin(message, sender, strlen(sender), 10), STATUS_OK);
}

static void end(struct desk *desk, struct message *message, enum outcome outcome)
{
    book_end(desk->book, message, outcome, "QUEUE", desk->now);
    message_end(message);
}

/* One recipient of a message of its own; the outcome is what becomes of the message. */
static struct judged send_one(struct desk *desk, const char *client, const char *login,
                              const char *sender, const char *recipient, enum outcome outcome)
{
    struct message message;

    begin(&message, sender);
    struct judged judged = ask_one(desk, &message, client, login, sender, recipient);
    end(desk, &message, outcome);
    return judged;
}

#define LOGIN "198.51.100.9", "taro@example.jp", "<taro@example.jp>", "<friend@far.example>"

/* What each policy here has, with at most one row more. */
static const struct row *base(struct row rows[5], const char *limit)
{
    rows[0] = (struct row){TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"};
    rows[1] = (struct row){TABLE_IDENTITY, 1, "*|#1|own|~"};
    rows[2] = (struct row){TABLE_SPAM_TRAP, 1, "trap@example.jp|#600"};
    rows[3] = (struct row){limit != NULL ? TABLE_RATE_LIMIT : TABLE_NONE, 1, limit};
    rows[4] = (struct row){TABLE_NONE, 0, NULL};
    return rows;
}

static void a_burst_stops_after_n(void **state)
{
    const char *limit = "hour|identity|*|recipients|out|#5|#3600|tempfail|#600";
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, limit));
    for (int i = 0; i < 20; i++) {
        struct judged judged = send_one(&desk, LOGIN, OUTCOME_ACCEPTED);
        assert_int_equal(judged.verdict.action, i < 5 ? ACTION_PASS : ACTION_DEFER);
        if (i >= 5) {
            assert_int_equal(judged.verdict.reason, REASON_RATE_IDENTITY);
            assert_true(judged.verdict.limit.wait > 0);
        }
    }
    /* it still receives mail, and a restart forgets nothing */
    assert_int_equal(
        send_one(&desk, "203.0.113.5", "", "<a@far.example>", "<taro@example.jp>", OUTCOME_ACCEPTED)
            .verdict.action,
        ACTION_PASS);
    close_book(&desk);
    open_book(&desk);
    struct judged judged = send_one(&desk, LOGIN, OUTCOME_ACCEPTED);
    assert_int_equal(judged.verdict.action, ACTION_DEFER);
    desk.now.steady += judged.verdict.limit.wait - 1;
    desk.now.wall -= INT64_C(10) * 365 * 86400 * 1000; /* the wall clock counts for nothing here */
    assert_int_equal(send_one(&desk, LOGIN, OUTCOME_ACCEPTED).verdict.action, ACTION_DEFER);
    desk.now.steady += 1;
    assert_int_equal(send_one(&desk, LOGIN, OUTCOME_ACCEPTED).verdict.action, ACTION_PASS);
    desk_close(&desk);
}

static void an_aborted_message_gives_its_charge_back(void **state)
{
    const char *limit = "hour|identity|*|messages|any|#1|#3600|tempfail|#600";
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, limit));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(send_one(&desk, LOGIN, OUTCOME_ABORTED).verdict.action, ACTION_PASS);
    }
    close_book(&desk);
    open_book(&desk);
    assert_int_equal(send_one(&desk, LOGIN, OUTCOME_ACCEPTED).verdict.action, ACTION_PASS);
    assert_int_equal(send_one(&desk, LOGIN, OUTCOME_ACCEPTED).verdict.action, ACTION_DEFER);
    desk_close(&desk);
}

static void a_block_is_not_renewed_and_the_next_is_longer(void **state)
{
    const char *limit = "probing|client|*|refusals|any|#3|#3600|block|#600";
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, limit));
    for (int round = 0; round < 2; round++) {
        enum reason reason = REASON_NONE;
        int64_t length = round == 0 ? 600 : 1200;
        for (int i = 0; i < 10; i++) {
            struct judged judged = send_one(&desk, "203.0.113.7", "", "<a@far.example>",
                                            "<b@elsewhere.example>", OUTCOME_ABORTED);
            reason = judged.verdict.reason;
            assert_int_equal(judged.blocked[0] != '\0', i == 3);
            assert_int_equal(reason, i < 4 ? REASON_RELAY_DENIED : REASON_CLIENT_BLOCKED);
        }
        /* not lifted by a restart, nor by waiting less than its length */
        close_book(&desk);
        open_book(&desk);
        desk.now.steady += length * 1000 - 1;
        assert_int_equal(send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<b@example.jp>",
                                  OUTCOME_ACCEPTED)
                             .verdict.reason,
                         REASON_CLIENT_BLOCKED);
        desk.now.steady += 1;
        assert_int_equal(send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<b@example.jp>",
                                  OUTCOME_ACCEPTED)
                             .verdict.reason,
                         REASON_PASS_LOCAL);
        desk.now.steady += 7200 * 1000; /* the refusals have run out, the strike has not */
    }
    desk_close(&desk);
}

static void traps(void **state)
{
    static const struct {
        const char *name, *client, *login, *sender;
        int messages;
        bool blocked;
    } cases[] = {
        {"a stranger", "203.0.113.7", "", "<a@far.example>", 1, true},
        {"a forged bounce", "203.0.113.8", "", "<>", 3, false},
        {"a login, once", "203.0.113.9", "taro@example.jp", "<taro@example.jp>", 1, false},
        {"a login, twice", "203.0.113.9", "jiro@example.jp", "<jiro@example.jp>", 2, true},
        {"loopback", "127.0.0.1", "", "<a@far.example>", 2, false},
    };
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool blocked = false;
        for (int n = 0; n < cases[i].messages; n++) {
            struct judged judged = send_one(&desk, cases[i].client, cases[i].login, cases[i].sender,
                                            "<trap@example.jp>", OUTCOME_REJECTED);
            blocked = blocked || judged.blocked[0] != '\0';
        }
        if (blocked != cases[i].blocked) {
            fail_msg("%s: %s", cases[i].name, blocked ? "blocked" : "not blocked");
        }
    }
    desk_close(&desk);
}

static void step(struct desk *desk)
{
    struct why why = {""};

    if (recorder_step(desk->recorder, desk->policy, desk->now, &why) != STATUS_OK) {
        fail_msg("%s", why.text);
    }
}

/* One number out of state.db, as an administrator's shell has it. */
static int64_t shell(struct desk *desk, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t number = -1;

    assert_int_equal(sqlite3_open(desk->state, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 2000);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        number = sqlite3_column_int64(statement, 0);
    } else {
        assert_int_equal(code, SQLITE_DONE);
    }
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

static enum reason ask_blocked(struct desk *desk)
{
    return send_one(desk, "203.0.113.7", "", "<a@far.example>", "<b@example.jp>", OUTCOME_ACCEPTED)
        .verdict.reason;
}

static void blocks_and_decisions_in_state_db(void **state)
{
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, NULL));
    step(&desk);
    send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<trap@example.jp>", OUTCOME_REJECTED);
    step(&desk);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM decision WHERE reason='spam-trap' AND "
                                  "outcome='rejected' AND queue_id='QUEUE' AND "
                                  "blocked='client:203.0.113.7'"),
                     1);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM block"), 1);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM note WHERE kind='block'"), 1);

    /* a state.db that is gone, or damaged, lifts nobody, and nothing that is known is lost */
    for (int harm = 0; harm < 2; harm++) {
        if (harm == 0) {
            assert_int_equal(unlink(desk.state), 0);
        } else {
            FILE *file = fopen(desk.state, "w");
            assert_non_null(file);
            for (int i = 0; i < 9000; i++) {
                fputs("no database", file);
            }
            fclose(file);
            close_book(&desk);
            open_book(&desk);
        }
        step(&desk);
        step(&desk);
        assert_int_equal(ask_blocked(&desk), REASON_CLIENT_BLOCKED);
        assert_int_equal(shell(&desk, "SELECT count(*) FROM block"), 1);
        assert_int_equal(shell(&desk, "SELECT count(*) FROM decision WHERE reason='spam-trap'"), 1);
    }

    /* rows of the shell: a block that is deleted is over, also after a restart; a new one begins */
    shell(&desk, "DELETE FROM block");
    step(&desk);
    assert_int_equal(ask_blocked(&desk), REASON_PASS_LOCAL);
    step(&desk);
    close_book(&desk);
    open_book(&desk);
    step(&desk);
    assert_int_equal(ask_blocked(&desk), REASON_PASS_LOCAL);
    shell(&desk, "INSERT INTO block (subject) VALUES ('client:203.0.113.7')");
    step(&desk);
    assert_int_equal(ask_blocked(&desk), REASON_CLIENT_BLOCKED);
    desk_close(&desk);
}

/* When the records of messages come into state.db: after so many recipients were asked for, after
 * so many messages ended; and whether the process dies in between, so that all are read again. */
static const struct {
    size_t messages, asked, ended;
    bool dies;
} drains[] = {
    {2, 0, 0, false},      {2, 2, 0, false},       {2, 2, 1, false},
    {2, 0, 1, true},       {2, 2, 0, true},        {2, 2, 1, true},
    {2, 1, 2, true},       {1500, 0, 0, false}, /* decisions and their ends in two transactions */
    {1500, 900, 0, false}, {1500, 900, 700, true}, {2500, 0, 0, false},
    {2500, 0, 1000, true},
};

/* A lift whose answer cannot be written is a lift all the same, once. */
static void a_lift_meets_a_lock(void **state)
{
    struct row rows[5];
    struct desk desk;
    struct why why;
    sqlite3 *editor = NULL;

    (void)state;
    desk_open(&desk, base(rows, NULL));
    send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<trap@example.jp>", OUTCOME_REJECTED);
    step(&desk);
    assert_int_equal(ask_blocked(&desk), REASON_CLIENT_BLOCKED);
    step(&desk);
    shell(&desk, "INSERT INTO request(verb, subject) VALUES('lift', 'client:203.0.113.7')");
    assert_int_equal(sqlite3_open(desk.state, &editor), SQLITE_OK);
    assert_int_equal(sqlite3_exec(editor, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recorder_step(desk.recorder, desk.policy, desk.now, &why), STATUS_BUSY);
    }
    assert_int_equal(sqlite3_exec(editor, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(editor);
    step(&desk);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM block"), 0);
    assert_int_equal(shell(&desk, "SELECT done FROM request"), 1);
    assert_int_equal(ask_blocked(&desk), REASON_PASS_LOCAL);
    close_book(&desk);
    open_book(&desk);
    assert_int_equal(ask_blocked(&desk), REASON_PASS_LOCAL);
    desk_close(&desk);
}

/* state.db cannot be written, is closed, and when it is opened again it is another file. */
static void another_file_while_closed(void **state)
{
    const char *week = "week|identity|*|recipients|out|#10|#604800|tempfail|#600";
    struct rlimit limit, small;
    struct row rows[5];
    struct desk desk;
    struct why why;
    char path[128];

    (void)state;
    desk_open(&desk, base(rows, week));
    send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<trap@example.jp>", OUTCOME_REJECTED);
    send_one(&desk, LOGIN, OUTCOME_ACCEPTED);
    step(&desk);
    desk.now.steady += 11000;
    step(&desk); /* the counters, too */
    int64_t decisions = shell(&desk, "SELECT count(*) FROM decision");
    int64_t counters = shell(&desk, "SELECT count(*) FROM counter");
    assert_true(decisions > 0 && counters > 0);
    send_one(&desk, "203.0.113.8", "", "<a@far.example>", "<b@example.jp>", OUTCOME_ACCEPTED);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum status status = recorder_step(desk.recorder, desk.policy, desk.now, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(status, STATUS_BROKEN);
    for (int i = 0; i < 3; i++) {
        static const char *const ends[] = {"", "-wal", "-shm"};
        snprintf(path, sizeof path, "%s%s", desk.state, ends[i]);
        unlink(path);
    }
    step(&desk);
    desk.now.steady += 11000;
    step(&desk);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM decision"), decisions + 1);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM block"), 1);
    assert_int_equal(shell(&desk, "SELECT count(*) FROM counter"), counters);
    desk_close(&desk);
}

/* What another version has written is passed over, let go like all else, and said. */
static void records_of_another_version(void **state)
{
    static const unsigned char foreign[] = {255, 0, 1, 2, 3};
    struct journal *journal = NULL;
    struct row rows[5];
    struct desk desk;
    struct why why;
    char path[128];
    uint64_t record = 0;

    (void)state;
    desk_open(&desk, base(rows, NULL));
    send_one(&desk, "203.0.113.8", "", "<a@far.example>", "<b@example.jp>", OUTCOME_ACCEPTED);
    step(&desk);
    assert_string_equal(desk.told, "");
    close_book(&desk);
    snprintf(path, sizeof path, "%s/journal", desk.folder);
    assert_int_equal(journal_open(path, 1000, 0, NULL, NULL, &journal, &why), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(journal_append(journal, foreign, sizeof foreign, false, &record, &why),
                         STATUS_OK);
    }
    journal_close(journal);
    open_book(&desk);
    step(&desk);
    assert_non_null(strstr(desk.told, "another version of sekisho: 3 of them"));
    assert_int_equal(shell(&desk, "SELECT value FROM value WHERE name='drained_record'"), record);
    desk_close(&desk);
}

static void what_became_of_each_decision(void **state)
{
    struct row rows[5];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(drains); i++) {
        size_t count = drains[i].messages;
        struct message *messages = calloc(count, sizeof *messages);
        struct desk desk;

        assert_non_null(messages);
        desk_open(&desk, base(rows, NULL));
        for (size_t n = 0; n < count; n++) {
            begin(&messages[n], "<a@far.example>");
            ask_one(&desk, &messages[n], "203.0.113.7", "", "<a@far.example>", "<b@example.jp>");
            ask_one(&desk, &messages[n], "203.0.113.7", "", "<a@far.example>", "<c@example.jp>");
            if (n + 1 == drains[i].asked) {
                step(&desk);
            }
        }
        for (size_t n = 0; n < count; n++) {
            end(&desk, &messages[n], n % 2 == 0 ? OUTCOME_ACCEPTED : OUTCOME_ABORTED);
            if (n + 1 == drains[i].ended) {
                step(&desk);
            }
        }
        if (drains[i].dies) {
            close_book(&desk);
            open_book(&desk);
        }
        step(&desk);
        /* numbers are given in turns: two of a message that was accepted, two of an aborted one */
        if (shell(&desk, "SELECT count(*) FROM decision WHERE queue_id='QUEUE' AND outcome="
                         "iif((number-1)/2%2=0, 'accepted', 'aborted')") != (int64_t)count * 2 ||
            shell(&desk, "SELECT count(*) FROM decision") != (int64_t)count * 2) {
            fail_msg("row %zu", i);
        }
        free(messages);
        desk_close(&desk);
    }
}

static void without_a_journal_nothing_is_permitted(void **state)
{
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, NULL));
    book_attach(desk.book, NULL);
    assert_int_equal(send_one(&desk, LOGIN, OUTCOME_ACCEPTED).verdict.reason, REASON_NO_RECORD);
    assert_int_equal(send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<b@elsewhere.example>",
                              OUTCOME_ABORTED)
                         .verdict.reason,
                     REASON_RELAY_DENIED);
    desk_close(&desk);
}

static void pass(struct desk *desk, int64_t seconds)
{
    desk->now.steady += seconds * 1000;
    desk->now.wall += seconds * 1000;
}

/* How many of so many messages of the login pass. */
static int send_many(struct desk *desk, int count)
{
    int passed = 0;

    for (int i = 0; i < count; i++) {
        passed += send_one(desk, LOGIN, OUTCOME_ACCEPTED).verdict.action == ACTION_PASS;
    }
    return passed;
}

static void a_restart_counts_what_is_left(void **state)
{
    static const struct {
        const char *name;
        bool journal, database; /* is left */
        int passed;             /* of the three that would have passed after seven */
    } cases[] = {
        {"all is there", true, true, 3},
        {"the journal is gone, with two after the snapshot", false, true, 5},
        {"state.db is gone", true, false, 3},
    };
    const char *limit = "week|identity|*|recipients|out|#10|#604800|tempfail|#600";
    struct row rows[5];
    struct desk desk;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        desk_open(&desk, base(rows, limit));
        step(&desk);
        assert_int_equal(send_many(&desk, 5), 5);
        pass(&desk, 11);
        step(&desk);
        assert_int_equal(send_many(&desk, 2), 2);
        close_book(&desk);
        if (!cases[i].journal) {
            each_file(&desk, "/journal", take_away, NULL);
        }
        if (!cases[i].database) {
            unlink(desk.state);
        }
        open_book(&desk);
        int passed = send_many(&desk, 20);
        if (passed != cases[i].passed) {
            fail_msg("%s: %d pass", cases[i].name, passed);
        }
        desk_close(&desk);
    }
}

/* A segment whose decisions are in state.db stays while the counters there are older. */
/* The table block is damaged, and somebody has removed the journal: the counters that were read
 * before the damage was met stay, and what is charged to them from now on counts. */
static void counters_outlive_a_damaged_table(void **state)
{
    const char *limit = "week|identity|*|recipients|out|#10|#604800|tempfail|#600";
    struct row rows[5];
    struct desk desk;
    char page[4096];

    (void)state;
    desk_open(&desk, base(rows, limit));
    assert_int_equal(send_many(&desk, 5), 5);
    pass(&desk, 11);
    step(&desk);
    close_book(&desk);
    int64_t root = shell(&desk, "SELECT rootpage FROM sqlite_master WHERE name = 'block'");
    shell(&desk, "PRAGMA wal_checkpoint(TRUNCATE)");
    assert_true(root > 1);
    memset(page, 0xa5, sizeof page);
    FILE *file = fopen(desk.state, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)(root - 1) * (long)sizeof page, SEEK_SET), 0);
    assert_int_equal(fwrite(page, sizeof page, 1, file), 1);
    assert_int_equal(fclose(file), 0);
    each_file(&desk, "/journal", take_away, NULL);
    open_book(&desk);
    assert_non_null(strstr(desk.told, "the file is kept as"));
    assert_int_equal(send_many(&desk, 10), 5);
    desk_close(&desk);
}

static void records_stay_until_they_are_counted(void **state)
{
    const char *limit = "week|identity|*|recipients|out|#5|#604800|tempfail|#600";
    char longest[300] = "";
    struct row rows[6];
    struct desk desk;

    (void)state;
    base(rows, limit);
    rows[4] = (struct row){TABLE_SETTING, 1, "ring_size|20000"};
    rows[5] = (struct row){TABLE_NONE, 0, NULL};
    desk_open(&desk, rows);
    step(&desk);
    assert_int_equal(send_many(&desk, 5), 5);
    memset(longest, 'a', sizeof longest - 1);
    memcpy(longest + sizeof longest - 9, "@far.net", 8);
    /* two records each: ring_size and a segment, not one and a half ring_size */
    for (int i = 0; i < 14500; i++) {
        send_one(&desk, "203.0.113.7", "", longest, longest, OUTCOME_ABORTED);
        if (i % 5000 == 0) {
            step(&desk);
        }
    }
    step(&desk);
    step(&desk);
    close_book(&desk);
    open_book(&desk);
    assert_int_equal(send_many(&desk, 1), 0);
    desk_close(&desk);
}

struct search {
    const char *text;
    int found;
};

static void look_into(const char *path, void *context)
{
    struct search *search = context;
    FILE *file = fopen(path, "r");
    size_t at = 0, size = strlen(search->text);

    for (int byte; file != NULL && (byte = fgetc(file)) != EOF;) {
        at = byte == search->text[at] ? at + 1 : byte == search->text[0];
        if (at == size) {
            search->found++;
            at = 0;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static void records_go_after_a_day_and_a_half(void **state)
{
    const char *limit = "week|identity|*|recipients|out|#2|#604800|tempfail|#600";
    struct search search = {"zebra", 0};
    struct row rows[5];
    struct desk desk;

    (void)state;
    desk_open(&desk, base(rows, limit));
    step(&desk);
    send_one(&desk, "198.51.100.9", "taro@example.jp", "<taro@example.jp>", "<zebra@far.example>",
             OUTCOME_ACCEPTED);
    send_many(&desk, 1);
    for (int hour = 0; hour < 48; hour++) {
        if (hour % 5 == 4) { /* restarts change nothing */
            close_book(&desk);
            open_book(&desk);
        }
        step(&desk);
        search.found = 0;
        each_file(&desk, "/journal", look_into, &search);
        if (hour < 24 ? search.found == 0 : hour >= 38 && search.found > 0) {
            fail_msg("%s after %d hours", hour < 24 ? "gone" : "still there", hour);
        }
        pass(&desk, 3600);
    }
    assert_int_equal(search.found, 0);
    close_book(&desk);
    open_book(&desk);
    assert_int_equal(send_many(&desk, 1), 0);
    desk_close(&desk);
}

static void a_locked_state_db_is_waited_for(void **state)
{
    struct row rows[5];
    struct desk desk;
    struct why why;
    sqlite3 *db = NULL;

    (void)state;
    desk_open(&desk, base(rows, NULL));
    step(&desk);
    close_book(&desk);
    assert_int_equal(sqlite3_open(desk.state, &db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE", NULL, NULL, NULL),
        SQLITE_OK);
    desk.book = book_new(&desk.sequence, 1000);
    assert_int_equal(recorder_open(desk.folder, desk.state, desk.book, desk.policy, desk.now, NULL,
                                   NULL, &desk.recorder, &why),
                     STATUS_BUSY);
    assert_int_equal(send_many(&desk, 1), 0);
    sqlite3_close(db);
    book_free(desk.book);
    open_book(&desk);
    assert_int_equal(send_many(&desk, 1), 1);
    desk_close(&desk);
}

/* After a reboot the clock of blocks goes on by the wall clock, also where no record is left. */
static void a_block_outlives_a_reboot(void **state)
{
    struct row rows[5];
    struct desk desk;
    char path[400];

    (void)state;
    desk_open(&desk, base(rows, NULL));
    send_one(&desk, "203.0.113.7", "", "<a@far.example>", "<trap@example.jp>", OUTCOME_REJECTED);
    step(&desk);
    close_book(&desk);
    each_file(&desk, "/journal", take_away, NULL);
    snprintf(path, sizeof path, "%s/clock", desk.folder);
    assert_int_equal(unlink(path), 0);
    desk.now.steady = 5000;
    desk.now.wall += 300 * 1000;
    open_book(&desk);
    step(&desk);
    pass(&desk, 299);
    assert_int_equal(ask_blocked(&desk), REASON_CLIENT_BLOCKED);
    pass(&desk, 1);
    assert_int_equal(ask_blocked(&desk), REASON_PASS_LOCAL);
    desk_close(&desk);
}

/* -- a key that comes late --------------------------------------------------------------------- */

int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);

static struct desk *before_lock; /* whose state directory comes before the next lock is taken */

static const unsigned char late_key[16] = "comes late";

/* The linker leads all locking here: what another thread does while somebody waits for a lock is
 * done by whoever asks for it. The key comes first, then what it is the key of. */
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    struct desk *desk = before_lock;
    struct block block = {.until = INT64_MAX, .until_steady = INT64_MAX, .by_hand = true};
    struct why why;

    before_lock = NULL;
    if (desk != NULL) {
        assert_int_equal(book_set_key(desk->book, late_key, &why), STATUS_OK);
        assert_int_equal(
            book_block_key(desk->book, desk->policy, "client:203.0.113.7", &block, &why),
            STATUS_OK);
        assert_true(book_block(desk->book, &block, false));
    }
    return __real_pthread_mutex_lock(mutex);
}

/* Whoever has made his hashes and not yet the lock when another key comes makes them again: or he
 * would pass by the blocks that were put back, and count where nobody looks. */
static void a_key_comes_before_the_lock(void **state)
{
    const char *limit = "hour|identity|*|recipients|out|#1|#3600|tempfail|#600";
    struct row rows[5];
    struct desk desk;

    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        desk_open(&desk, base(rows, limit));
        before_lock = &desk;
        if (blocked == 1) {
            assert_int_equal(ask_blocked(&desk), REASON_CLIENT_BLOCKED);
        } else {
            assert_int_equal(send_many(&desk, 1), 1);
            assert_int_equal(send_many(&desk, 1), 0);
        }
        assert_null(before_lock);
        desk_close(&desk);
    }
}

/* -- logins that have no room in a subject's text -----------------------------------------------
 */

#define TEN_KANJI                                                                                  \
    "\xe5\xb1\xb1\xe5\xb1\xb1\xe5\xb1\xb1\xe5\xb1\xb1\xe5\xb1\xb1"                                 \
    "\xe5\xb1\xb1\xe5\xb1\xb1\xe5\xb1\xb1\xe5\xb1\xb1\xe5\xb1\xb1"

/* Not below 84 octets that are escaped; each has its own text, and is blocked alone. */
static const struct {
    int kanji; /* of three octets, and so of twelve in a text */
    const char *tail;
} long_logins[] = {
    {27, "1234567"}, /* the longest that has room */
    {27, "12345678"},
    {28, ""},
    {28, "a"},
    {28, "b"},
    {106, "1"},
    {106, "2"},
    {106, "12"},
    {100, "@example.jp"},
    /* no domain, its label is too long; what is kept of it would be one, but for the ~ */
    {20, "abcd@" TEN_KANJI TEN_KANJI TEN_KANJI TEN_KANJI TEN_KANJI TEN_KANJI},
    {80, "-with-more-that-is-plain-so-that-it-is-as-long-as-a-login-can-be-behind-kanji1"},
    {80, "-with-more-that-is-plain-so-that-it-is-as-long-as-a-login-can-be-behind-kanji2"},
};

static const char *long_login(size_t i, char to[ADDRESS_PATH_MOST + 1])
{
    size_t size = (size_t)long_logins[i].kanji * 3;

    for (size_t at = 0; at < size; at += 3) {
        memcpy(to + at, at % 2 == 0 ? "\xe5\xb1\xb1" : "\xe7\x94\xb0", 3);
    }
    snprintf(to + size, ADDRESS_PATH_MOST + 1 - size, "%s", long_logins[i].tail);
    return to;
}

static enum reason ask_long(struct desk *desk, size_t i, char blocked[SUBJECT_TEXT])
{
    char login[ADDRESS_PATH_MOST + 1];
    struct judged judged = send_one(desk, "198.51.100.9", long_login(i, login), "<a@far.example>",
                                    "<friend@far.example>", OUTCOME_ABORTED);

    if (judged.blocked[0] != '\0') {
        memcpy(blocked, judged.blocked, SUBJECT_TEXT);
    }
    return judged.verdict.reason;
}

/* Blocked is who was, and nobody else: after a restart that has the journal only, after one that
 * has state.db only, and until the block is lifted by its text. */
static void a_long_login_is_blocked_alone(void **state)
{
    const char *limit = "probing|identity|*|refusals|any|#3|#3600|block|#600";
    char blocked[SUBJECT_TEXT], sql[SUBJECT_TEXT + 100];
    struct row rows[5];
    struct desk desk;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(long_logins); i++) {
        desk_open(&desk, base(rows, limit));
        blocked[0] = '\0';
        for (int n = 0; n < 4; n++) {
            assert_string_equal(blocked, "");
            assert_int_equal(ask_long(&desk, i, blocked), REASON_SENDER_NOT_YOURS);
        }
        assert_int_equal(strncmp(blocked, "identity:\\xe5\\xb1\\xb1", 21), 0);
        for (int start = 0; start < 3; start++) {
            if (start > 0) {
                close_book(&desk);
                if (start == 2) {
                    each_file(&desk, "/journal", take_away, NULL);
                }
                open_book(&desk);
                step(&desk);
            }
            for (size_t k = 0; k < COUNT_OF(long_logins); k++) {
                char other[SUBJECT_TEXT] = "";
                if ((ask_long(&desk, k, other) == REASON_IDENTITY_BLOCKED) != (k == i)) {
                    fail_msg("row %zu, start %d: row %zu %s", i, start, k,
                             k == i ? "is not blocked" : "is blocked");
                }
            }
        }
        snprintf(sql, sizeof sql, "INSERT INTO request(verb, subject) VALUES('lift', '%s')",
                 blocked);
        shell(&desk, sql);
        step(&desk);
        assert_int_equal(shell(&desk, "SELECT count(*) FROM block"), 0);
        assert_int_equal(ask_long(&desk, i, blocked), REASON_SENDER_NOT_YOURS);
        desk_close(&desk);
    }
}

/* -- recipients that Sendmail makes one of ----------------------------------------------------- */

/* Recipients of one message from a listed client, each with the mailbox its virtusertable leads to
 * (mailer local, "!" = mailer error, NULL = not said) and the answer; "new" begins a message. */
static const struct {
    const char *recipient, *leads_to;
    enum reason reason;
} merged[] = {
    {"<postmaster@example.jp>", "postmaster", REASON_PASS_LOCAL},
    {"<info@example.jp>", "postmaster", REASON_PASS_LOCAL},
    {"<INFO@Example.JP>", "postmaster", REASON_PASS_LOCAL},
    {"<chief@example.jp>", "chief", REASON_CLIENT_LISTED},
    {"<hanako@example.jp>", NULL, REASON_CLIENT_LISTED},
    {"<jiro@example.jp>", "!postmaster", REASON_CLIENT_LISTED},
    {"<friend@far.example>", "postmaster", REASON_CLIENT_LISTED}, /* never what is not ours */
    {"<x%far.example@example.jp>", "postmaster", REASON_ADDRESS_ROUTED},
    {"new", NULL, REASON_NONE}, /* a pass is of its own message */
    {"<info@example.jp>", "postmaster", REASON_CLIENT_LISTED},
    {"<info@example.jp>", "postmaster", REASON_CLIENT_LISTED},
    {"<postmaster@example.jp>", "postmaster", REASON_PASS_LOCAL},
    {"<info@example.jp>", "postmaster", REASON_PASS_LOCAL}, /* or postmaster would get nothing */
    {"<info@example.jp>", "postmaster", REASON_PASS_LOCAL},
    {"new", NULL, REASON_NONE}, /* refused by the MTA, or not said: not merged */
    {"<postmaster@example.jp>", "!postmaster", REASON_PASS_LOCAL},
    {"<info@example.jp>", "!postmaster", REASON_CLIENT_LISTED},
    {"<postmaster@example.jp>", NULL, REASON_PASS_LOCAL},
    {"<jiro@example.jp>", NULL, REASON_CLIENT_LISTED},
};

struct letter {
    struct facts facts;
    struct message message;
};

static void letter_begin(struct letter *letter, const char *client)
{
    memset(letter, 0, sizeof *letter);
    letter->facts = desk_facts(POST_MILTER, client, "", "<a@far.example>", "");
    assert_int_equal(message_begin(&letter->message, "<a@far.example>", 15, 10), STATUS_OK);
}

static struct judged letter_to(struct desk *desk, struct letter *letter, const char *recipient,
                               const char *leads_to)
{
    struct question question = {&letter->facts, "session", "", REFUSED_BY_NOBODY, 0};
    struct hold hold = {desk->policy, 1, NULL};
    struct judged judged;

    letter->facts.recipient = (struct text){recipient, strlen(recipient)};
    if (leads_to != NULL) {
        bool error = leads_to[0] == '!';
        question.resolved = message_resolved(error ? "error" : "local", "", leads_to + error);
    }
    book_judge(desk->book, &hold, &question, &letter->message, desk->now, &judged);
    return judged;
}

static void letter_end(struct desk *desk, struct letter *letter)
{
    book_end(desk->book, &letter->message, OUTCOME_ACCEPTED, "QUEUE", desk->now);
    message_end(&letter->message);
}

static const struct row merging[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
    {TABLE_RECEIVE_ONLY, 1, "postmaster"},
    {TABLE_IP_RANGE, 1, "203.0.113.0/24|reject|everyone|~|~"},
    {TABLE_SPAM_TRAP, 1, "trap@example.jp|#600"},
    {TABLE_RATE_LIMIT, 1, "hour|client|*|recipients|in|#1|#3600|block|#600"},
    {TABLE_SETTING, 1, "recipients_most|2"},
    {TABLE_NONE, 0, NULL},
};

static void what_was_promised_is_not_taken_back(void **state)
{
    struct row rows[5];
    struct desk desk;
    struct letter letter;
    uint64_t last = 0;

    (void)state;
    memcpy(rows, merging, 4 * sizeof rows[0]);
    rows[4] = (struct row){TABLE_NONE, 0, NULL};
    desk_open(&desk, rows);
    letter_begin(&letter, "203.0.113.7");
    for (size_t i = 0; i < COUNT_OF(merged); i++) {
        if (strcmp(merged[i].recipient, "new") == 0) {
            letter_end(&desk, &letter);
            letter_begin(&letter, "203.0.113.7");
            continue;
        }
        struct judged judged = letter_to(&desk, &letter, merged[i].recipient, merged[i].leads_to);
        if (judged.verdict.reason != merged[i].reason)
            fail_msg("row %zu, %s: %s", i, merged[i].recipient,
                     reason_row(judged.verdict.reason)->name);
        assert_true(judged.repeated || judged.number > last); /* on record by its own name */
        last = judged.repeated ? last : judged.number;
    }
    letter_end(&desk, &letter);
    /* a trap stays one: it refuses the message, so the sender hears of it */
    letter_begin(&letter, "198.51.100.7");
    assert_int_equal(letter_to(&desk, &letter, "<taro@example.jp>", "taro").verdict.reason,
                     REASON_PASS_LOCAL);
    assert_int_equal(letter_to(&desk, &letter, "<trap@example.jp>", "taro").verdict.reason,
                     REASON_SPAM_TRAP);
    assert_true(letter.message.trapped);
    assert_int_equal(letter_to(&desk, &letter, "<info@example.jp>", "taro").verdict.action,
                     ACTION_REFUSE);
    letter_end(&desk, &letter);
    desk_close(&desk);
}

/* Limits, too many recipients, no record: whatever would refuse it, and without a count or block.
 */
static void merged_recipients_meet_no_limit(void **state)
{
    struct desk desk;
    struct letter letter;

    (void)state;
    desk_open(&desk, merging);
    letter_begin(&letter, "198.51.100.7");
    struct judged first = letter_to(&desk, &letter, "<taro@example.jp>", "taro");
    assert_int_equal(first.verdict.action, ACTION_PASS);
    struct judged second = letter_to(&desk, &letter, "<info@example.jp>", "taro");
    assert_int_equal(second.verdict.reason, REASON_PASS_LOCAL);
    assert_true(second.number > first.number && !second.repeated);
    assert_string_equal(second.blocked, "");
    assert_int_equal(letter_to(&desk, &letter, "<jiro@example.jp>", "jiro").verdict.reason,
                     REASON_TOO_MANY_RECIPIENTS);
    assert_int_equal(letter_to(&desk, &letter, "<chief@example.jp>", "taro").verdict.reason,
                     REASON_PASS_LOCAL);
    book_attach(desk.book, NULL);
    struct judged third = letter_to(&desk, &letter, "<sales@example.jp>", "taro");
    assert_int_equal(third.verdict.reason, REASON_PASS_LOCAL);
    assert_true(third.number == first.number && third.repeated);
    message_end(&letter.message);
    desk_close(&desk);
}

/* -- the promise ---------------------------------------------------------------------------- */

/* xorshift64*: the same story on every machine. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

enum { ALLOWED = 7, WINDOW = 600, PASSES_MOST = 4000 };

/* In no stretch of WINDOW seconds do more than ALLOWED pass, whatever the clocks, restarts, kills
 * and reboots do; and it does not keep everybody out either. `real` is the time of the world, which
 * nobody can set. */
static void never_more_than_allowed(void **state)
{
    const char *limit = "few|identity|*|recipients|out|#7|#600|tempfail|#600";
    static int64_t passes[PASSES_MOST];
    struct row rows[5];
    struct desk desk;
    char clock[400];

    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
        int64_t real = 0, skew = 0; /* the wall clock is ahead of the world by it */
        size_t count = 0;
        desk_open(&desk, base(rows, limit));
        int64_t wall = desk.now.wall, steady = desk.now.steady, boot = 0;
        for (int n = 0; n < 1000; n++) {
            unsigned what = (unsigned)(random_next(&random) % 100);
            int64_t passed = (int64_t)(random_next(&random) % 90000);
            if (what < 60) {
                bool accepted = random_next(&random) % 8 != 0;
                struct judged judged =
                    send_one(&desk, LOGIN, accepted ? OUTCOME_ACCEPTED : OUTCOME_ABORTED);
                if (judged.verdict.action == ACTION_PASS && accepted && count < PASSES_MOST) {
                    passes[count++] = real;
                    if (count > ALLOWED && passes[count - 1 - ALLOWED] > real - WINDOW * 1000) {
                        fail_msg("seed %d, step %d: %d in %d ms", (int)seed, n, ALLOWED + 1,
                                 (int)(real - passes[count - 1 - ALLOWED]));
                    }
                }
            } else if (what < 90) {
                real += passed;
            } else if (what < 93) { /* somebody sets the clock, years ahead or back */
                skew = ((int64_t)(random_next(&random) % 21) - 10) * 31536000 * 1000;
            } else if (what < 98) { /* killed, at times before anything is in state.db */
                if (what < 95) {
                    step(&desk);
                }
                close_book(&desk);
                open_book(&desk);
            } else { /* off for a while; the clock is right at boot, and was before */
                skew = 0;
                desk.now.wall = wall + real;
                send_one(&desk, LOGIN, OUTCOME_ABORTED);
                step(&desk);
                close_book(&desk);
                snprintf(clock, sizeof clock, "%s/clock", desk.folder);
                assert_int_equal(unlink(clock), 0);
                real += passed;
                boot = real;
                steady = 1000;
                desk.now = (struct moment){wall + real, steady};
                open_book(&desk);
            }
            desk.now = (struct moment){wall + real + skew, steady + real - boot};
            if (random_next(&random) % 16 == 0) {
                step(&desk);
            }
        }
        assert_true(count > 60);
        desk_close(&desk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_stops_after_n),
        cmocka_unit_test(an_aborted_message_gives_its_charge_back),
        cmocka_unit_test(a_block_is_not_renewed_and_the_next_is_longer),
        cmocka_unit_test(traps),
        cmocka_unit_test(blocks_and_decisions_in_state_db),
        cmocka_unit_test(a_lift_meets_a_lock),
        cmocka_unit_test(records_of_another_version),
        cmocka_unit_test(another_file_while_closed),
        cmocka_unit_test(what_became_of_each_decision),
        cmocka_unit_test(without_a_journal_nothing_is_permitted),
        cmocka_unit_test(a_restart_counts_what_is_left),
        cmocka_unit_test(counters_outlive_a_damaged_table),
        cmocka_unit_test(records_stay_until_they_are_counted),
        cmocka_unit_test(records_go_after_a_day_and_a_half),
        cmocka_unit_test(a_locked_state_db_is_waited_for),
        cmocka_unit_test(a_block_outlives_a_reboot),
        cmocka_unit_test(a_key_comes_before_the_lock),
        cmocka_unit_test(a_long_login_is_blocked_alone),
        cmocka_unit_test(never_more_than_allowed),
        cmocka_unit_test(what_was_promised_is_not_taken_back),
        cmocka_unit_test(merged_recipients_meet_no_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
