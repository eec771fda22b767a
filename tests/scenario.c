/* Runs stories: a policy in SQL, sessions in a time of the story's own, and what they must meet. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/policy_build.h"
#include "core/policy_seal.h"
#include "core/proof.h"
#include "live/book.h"
#include "live/recorder.h"
#include "store/policydb.h"

/* A story, one statement a line; # begins a comment, the first of which tells the idea.
 *
 *     init DOMAIN[,DOMAIN ...] [HOST]   a fresh policy as `sekisho init` makes it
 *     policy                            the indented lines that follow are SQL, run on it
 *     bad "SENTENCE"                    the policy is refused so; the one before stays in force
 *     at 2026-11-24 03:00:00            time goes on to it, UTC
 *     after N s|min|h|d                 time goes on by it
 *     set 2036-11-24 03:00:00           somebody sets the wall clock
 *     restart                           the filter is killed and started again
 *     reboot N s|min|h|d                the machine was off for so long
 *     client IP|unknown [helo NAME] [login NAME] [window NAME] [listener IP] [host NAME]
 *                       [suspended] [submission]
 *     mail SENDER                       a message begins; one before it without data is aborted
 *     [repeat N] rcpt RECIPIENT => accept|reject|tempfail REASON [TABLE:ROW|built-in]
 *     [repeat N] unknown RECIPIENT => ...    the MTA has refused it already: no such user
 *     [repeat N] door RECIPIENT => ...       the same question at the permit door
 *     [repeat N] elsewhere RECIPIENT => ...  there, where the MTA has called it none of its own
 *     burst N [unknown] RECIPIENT => COUNT ANSWER REASON, COUNT ANSWER REASON ...
 *                                       so many messages of one recipient; the answers in turn
 *     observed REASON|none              what the last answer only observed
 *     retry N s                         when the last answer says that the next one will pass
 *     data => accept|reject             the message itself, at its end
 *     blocks SUBJECT N s, ... | none    who is blocked just now, and for how long yet
 *     lift SUBJECT                      an administrator lifts a block
 *
 * A word may stand in "quotes"; \xNN is a byte. */

enum { LINE_ROOM = 4096, WORDS_MOST = 16, FACT_ROOM = 1024 };

struct fact {
    char bytes[FACT_ROOM];
    size_t size;
};

struct story {
    const char *file;
    unsigned line;
    size_t passed, failed;
    char folder[64], path[96], state[96];
    struct fact host_of_policy;
    bool edited; /* policy.db is newer than the policy in force */
    char sql_fault[512];
    struct policy *policy;
    struct moment now;
    struct fact helo, host, login, sender;
    bool client_known, listener_known, submission, window, in_message;
    struct ip client, listener;
    bool not_for_mta;
    enum refused_by refused;
    char suspended[SUBJECT_TEXT]; /* the client's relay right is blocked for this story's sake */
    struct sequence sequence;
    struct book *book;
    struct recorder *recorder;
    struct message message;
    struct judged last;
};

static void fail(struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct story *story, const char *format, ...)
{
    va_list arguments;

    story->failed++;
    printf("%s:%u: ", story->file, story->line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* -- words ---------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c != '\0' ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

/* Copies size bytes of text, each \xNN as the byte it names. */
static void fact_set(struct fact *fact, const char *text, size_t size)
{
    fact->size = 0;
    for (size_t i = 0; i < size && fact->size + 1 < sizeof fact->bytes; i++) {
        char c = text[i];
        if (c == '\\' && i + 3 < size && text[i + 1] == 'x' && hex_digit(text[i + 2]) >= 0 &&
            hex_digit(text[i + 3]) >= 0) {
            c = (char)(hex_digit(text[i + 2]) * 16 + hex_digit(text[i + 3]));
            i += 3;
        }
        fact->bytes[fact->size++] = c;
    }
    fact->bytes[fact->size] = '\0';
}

static struct text text_of(const struct fact *fact)
{
    return (struct text){fact->bytes, fact->size};
}

/* Cuts the next word out of *at, without its quotes; NULL after the last. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t"), *end;

    if (*word == '\0') {
        return NULL;
    }
    if (*word == '"') {
        end = strchr(++word, '"');
    } else {
        end = word + strcspn(word, " \t");
    }
    *at = end == NULL ? word + strlen(word) : *end == '\0' ? end : end + 1;
    if (end != NULL) {
        *end = '\0';
    }
    return word;
}

static bool starts(const char *text, const char *word, char **rest)
{
    size_t size = strlen(word);

    if (strncmp(text, word, size) != 0 || (text[size] != '\0' && text[size] != ' ')) {
        return false;
    }
    *rest = strchr(text, '\0');
    if (text[size] == ' ') {
        *rest -= strlen(text) - size;
        *rest += strspn(*rest, " ");
    }
    return true;
}

/* -- the state ------------------------------------------------------------------------------ */

static void close_state(struct story *story)
{
    recorder_close(story->recorder);
    book_free(story->book);
    story->recorder = NULL;
    story->book = NULL;
}

static void open_state(struct story *story)
{
    struct why why = {""};

    story->book = book_new(&story->sequence, 100000);
    if (story->book == NULL ||
        recorder_open(story->folder, story->state, story->book, story->policy, story->now, NULL,
                      NULL, &story->recorder, &why) != STATUS_OK) {
        fail(story, "expected a state directory, got %s", why.text);
    }
}

/* What the keeper does once a second. */
static void tick(struct story *story)
{
    struct why why = {""};

    if (story->recorder != NULL &&
        recorder_step(story->recorder, story->policy, story->now, &why) != STATUS_OK) {
        fail(story, "expected records in state.db, got %s", why.text);
    }
}

/* The message is over, by this end. */
static void end_message(struct story *story, enum outcome outcome)
{
    if (story->in_message) {
        book_end(story->book, &story->message, outcome, "QUEUE", story->now);
        message_end(&story->message);
        story->in_message = false;
    }
}

/* "90 s", "10 min" as milliseconds; -1: neither. */
static int64_t span(const char *text)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    long long number = strtoll(text, &end, 10);

    end += strspn(end, " ");
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].name) == 0) {
            return number * units[i].ms;
        }
    }
    return -1;
}

static void do_after(struct story *story, const char *text, bool reboot)
{
    char path[96];
    int64_t ms = span(text);

    if (ms < 0) {
        fail(story, "expected a time like 90 s, 10 min, 2 h or 1 d, got %s", text);
        return;
    }
    story->now.wall += ms;
    if (!reboot) {
        story->now.steady += ms;
        tick(story);
        return;
    }
    close_state(story);
    snprintf(path, sizeof path, "%s/clock", story->folder); /* of a boot that is another now */
    unlink(path);
    story->now.steady = 1000;
    open_state(story);
}

static void do_restart(struct story *story)
{
    close_state(story);
    open_state(story);
}

static void do_lift(struct story *story, const char *subject)
{
    struct block block;
    struct why why = {""};

    if (book_block_key(story->book, story->policy, subject, &block, &why) != STATUS_OK ||
        !book_lift(story->book, block.key)) {
        fail(story, "expected a block of %s, got none %s", subject, why.text);
    } else {
        story->passed++;
    }
}

static void do_blocks(struct story *story, const char *expected)
{
    struct block block;
    char got[1024] = "none";
    size_t used = 0;

    for (size_t n = 0; book_block_at(story->book, n, &block); n++) {
        int64_t left = block.until_steady - book_clock(story->book, story->now);
        if (left > 0 && used < sizeof got) {
            used += (size_t)snprintf(got + used, sizeof got - used, "%s%s %" PRId64 " s",
                                     used > 0 ? ", " : "", block.subject, left / 1000);
        }
    }
    if (strcmp(expected, got) == 0) {
        story->passed++;
    } else {
        fail(story, "blocks: expected %s, got %s", expected, got);
    }
}

/* -- the policy ----------------------------------------------------------------------------- */

/* Opens, reads, seals and proves, as the keeper does; the policy in force is replaced only if all
 * of it went well. */
static enum status load(struct story *story, struct why *why)
{
    struct policydb *db = NULL;
    struct policy_build *build = NULL;
    struct policy *policy = NULL;
    enum status status = policydb_open(story->path, 0, &db, why);

    if (status == STATUS_OK) {
        status = policydb_read(db, NULL, NULL, &build, why);
    }
    if (status == STATUS_OK) {
        status = policy_seal(build, story->now.wall, &policy, why);
    }
    if (status == STATUS_OK) {
        status = proof_run(policy, NULL, NULL, NULL, why);
    }
    if (status == STATUS_OK) {
        policy_free(story->policy);
        story->policy = policy;
        policy = NULL;
    }
    policy_free(policy);
    policy_build_free(build);
    policydb_close(db);
    return status;
}

/* Brings the policy up to the tables and to the time. False: there is none. */
static bool fresh(struct story *story)
{
    struct policy *policy = NULL;
    struct why why = {""};

    if (story->edited) {
        story->edited = false;
        if (story->sql_fault[0] != '\0') {
            fail(story, "expected SQL that runs, got %s", story->sql_fault);
            story->sql_fault[0] = '\0';
        }
        if (load(story, &why) != STATUS_OK) {
            fail(story, "expected a good policy, got %s", why.text);
        }
    }
    if (story->policy == NULL) {
        fail(story, "expected a policy in force, got none (init comes first)");
        return false;
    }
    if (story->now.wall >= policy_next_expiry(story->policy) ||
        story->now.wall < policy_sealed_at(story->policy)) {
        if (policy_reseal(story->policy, story->now.wall, &policy, &why) != STATUS_OK ||
            proof_run(policy, NULL, NULL, NULL, &why) != STATUS_OK) {
            fail(story, "expected the same rules at another time, got %s", why.text);
            policy_free(policy);
            return true;
        }
        policy_free(story->policy);
        story->policy = policy;
    }
    return true;
}

static void do_init(struct story *story, char *rest)
{
    const char *domains[WORDS_MOST + 1] = {NULL};
    struct policydb_start start = {domains, NULL};
    struct why why = {""};
    char *list = next_word(&rest), *save = NULL;

    start.host_name = next_word(&rest);
    fact_set(&story->host_of_policy, "", 0);
    if (start.host_name != NULL) {
        fact_set(&story->host_of_policy, start.host_name, strlen(start.host_name));
    }
    size_t count = 0;
    for (char *name = list != NULL ? strtok_r(list, ",", &save) : NULL;
         name != NULL && count < WORDS_MOST; name = strtok_r(NULL, ",", &save)) {
        domains[count++] = name;
    }
    unlink(story->path);
    policy_free(story->policy);
    story->policy = NULL;
    story->edited = true;
    if (policydb_create(story->path, &start, &why) != STATUS_OK) {
        fail(story, "expected a new policy, got %s", why.text);
    }
}

/* One transaction: what fails leaves the tables as they were. */
static void run_sql(struct story *story, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    story->edited = true;
    story->sql_fault[0] = '\0';
    if (sqlite3_open_v2(story->path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN", NULL, NULL, &message) != SQLITE_OK ||
        sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK ||
        sqlite3_exec(db, "COMMIT", NULL, NULL, &message) != SQLITE_OK) {
        snprintf(story->sql_fault, sizeof story->sql_fault, "%s",
                 message != NULL ? message : sqlite3_errmsg(db));
    }
    sqlite3_free(message);
    sqlite3_close(db);
}

static void do_bad(struct story *story, char *rest)
{
    char *sentence = next_word(&rest);
    struct why why = {""};
    const char *got = story->sql_fault;

    if (sentence == NULL || !story->edited) {
        fail(story, "expected an edit and a sentence with bad");
        return;
    }
    if (got[0] == '\0') {
        got = load(story, &why) == STATUS_OK ? "a good policy" : why.text;
    }
    if (strncmp(got, sentence, strlen(sentence)) == 0) {
        story->passed++;
    } else {
        fail(story, "expected %s, got %s", sentence, got);
    }
    story->sql_fault[0] = '\0';
    story->edited = false;
}

static void do_at(struct story *story, const char *text, bool only_wall)
{
    struct tm tm;
    int size = 0;

    memset(&tm, 0, sizeof tm);
    if (sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &size) != 6 ||
        text[size] != '\0') {
        fail(story, "expected a time like 2026-11-24 03:00:00, got %s", text);
        return;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t wall = (int64_t)timegm(&tm) * 1000;
    if (!only_wall && wall > story->now.wall) {
        story->now.steady += wall - story->now.wall;
    }
    story->now.wall = wall;
    tick(story);
}

/* -- sessions ------------------------------------------------------------------------------- */

/* Takes the client's right to relay away, as an administrator would. */
static void suspend(struct story *story)
{
    struct block block;
    struct why why = {""};
    char client[IP_TEXT];

    memset(&block, 0, sizeof block);
    block.until = block.until_steady = INT64_MAX;
    block.by_hand = true;
    ip_text(&story->client, client);
    snprintf(story->suspended, sizeof story->suspended, "relay:%s", client);
    if (!fresh(story) ||
        book_block_key(story->book, story->policy, story->suspended, &block, &why) != STATUS_OK ||
        !book_block(story->book, &block, true)) {
        fail(story, "expected a client that can be suspended, got %s", why.text);
        story->suspended[0] = '\0';
    }
}

static void do_client(struct story *story, char *rest)
{
    char *word = next_word(&rest);

    end_message(story, OUTCOME_ABORTED);
    if (story->suspended[0] != '\0') {
        do_lift(story, story->suspended);
        story->suspended[0] = '\0';
        story->passed--;
    }
    story->client_known = word != NULL && ip_parse(word, &story->client);
    if (word == NULL || (!story->client_known && strcmp(word, "unknown") != 0)) {
        fail(story, "expected a client address or unknown, got %s", word != NULL ? word : "");
    }
    fact_set(&story->helo, "", 0);
    fact_set(&story->login, "", 0);
    story->host = story->host_of_policy;
    story->listener_known = story->submission = story->window = false;
    while ((word = next_word(&rest)) != NULL) {
        struct fact *fact = strcmp(word, "helo") == 0     ? &story->helo
                            : strcmp(word, "login") == 0  ? &story->login
                            : strcmp(word, "window") == 0 ? &story->login
                            : strcmp(word, "host") == 0   ? &story->host
                                                          : NULL;
        if (strcmp(word, "suspended") == 0) {
            suspend(story);
        } else if (strcmp(word, "submission") == 0) {
            story->submission = true;
        } else if (fact != NULL) {
            char *value = next_word(&rest);
            story->window = story->window || strcmp(word, "window") == 0;
            fact_set(fact, value != NULL ? value : "", value != NULL ? strlen(value) : 0);
        } else if (strcmp(word, "listener") == 0) {
            char *value = next_word(&rest);
            story->listener_known = value != NULL && ip_parse(value, &story->listener);
        } else {
            fail(story, "expected helo, login, listener, host, suspended or submission, got %s",
                 word);
        }
    }
}

static void do_mail(struct story *story, const char *rest)
{
    if (!fresh(story)) {
        return;
    }
    end_message(story, OUTCOME_ABORTED);
    fact_set(&story->sender, rest, strlen(rest));
    story->in_message =
        message_begin(&story->message, story->sender.bytes, story->sender.size,
                      (size_t)policy_number(story->policy, SETTING_RECIPIENTS_MOST)) == STATUS_OK;
}

static void judge(struct story *story, const struct fact *recipient, enum post post)
{
    struct facts facts = {
        .post = post,
        .client_known = story->client_known,
        .submission = story->submission,
        .not_for_mta = story->not_for_mta,
        .client = story->client,
        .listener_known = story->listener_known,
        .listener = story->listener,
        .client_name = {"", 0},
        .helo = text_of(&story->helo),
        .host = text_of(&story->host),
        .login = text_of(&story->login),
        .window = story->window,
        .sender = text_of(&story->sender),
        .recipient = text_of(recipient),
    };
    struct question question = {&facts, "story", "", story->refused, 0};
    struct hold hold = {story->policy, 1, NULL};

    book_judge(story->book, &hold, &question, post == POST_DOOR ? NULL : &story->message,
               story->now, &story->last);
}

/* "reject relay-denied ip_range:17" */
static void say_verdict(const struct verdict *verdict, bool with_rule, char *to, size_t room)
{
    int used = snprintf(to, room, "%s %s", action_name(verdict->action),
                        reason_row(verdict->reason)->name);
    if (with_rule && verdict->rule.table == TABLE_NONE) {
        snprintf(to + used, room - (size_t)used, " built-in");
    } else if (with_rule) {
        snprintf(to + used, room - (size_t)used, " %s:%" PRId64, table_name(verdict->rule.table),
                 verdict->rule.row);
    }
}

static void do_recipient(struct story *story, char *rest, enum post post, unsigned long times)
{
    static struct fact recipient;
    char expected[512] = "", got[512];
    char *arrow = strstr(rest, " => "), *word;
    size_t used = 0;
    bool with_rule = false;

    if (arrow == NULL || (post == POST_MILTER && !story->in_message)) {
        fail(story, "expected mail, then RECIPIENT => answer");
        return;
    }
    fact_set(&recipient, rest, (size_t)(arrow - rest));
    for (char *at = arrow + 4; (word = next_word(&at)) != NULL;) {
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%s%s",
                                 used > 0 ? " " : "", word);
        with_rule = strchr(word, ':') != NULL || strcmp(word, "built-in") == 0;
    }
    for (unsigned long i = 0; i < times && fresh(story); i++) {
        judge(story, &recipient, post);
        say_verdict(&story->last.verdict, with_rule, got, sizeof got);
        if (strcmp(expected, got) == 0) {
            story->passed++;
            continue;
        }
        say_verdict(&story->last.verdict, true, got, sizeof got);
        fail(story, "%s: expected %s, got %s", rest, expected, got);
    }
}

static void do_observed(struct story *story, const char *expected)
{
    const struct verdict *last = &story->last.verdict;
    const char *got = last->observed ? reason_row(last->observed_reason)->name : "none";

    if (strcmp(expected, got) == 0) {
        story->passed++;
    } else {
        fail(story, "expected %s observed, got %s", expected, got);
    }
}

static void do_data(struct story *story, const char *expected)
{
    const char *got = story->message.trapped ? "=> reject" : "=> accept";

    if (strcmp(expected, got) == 0) {
        story->passed++;
    } else {
        fail(story, "the message: expected %s, got %s", expected, got);
    }
    end_message(story, story->message.trapped ? OUTCOME_REJECTED : OUTCOME_ACCEPTED);
}

static void do_retry(struct story *story, const char *expected)
{
    int64_t got = story->last.verdict.limit.wait;

    if (span(expected) == got) {
        story->passed++;
    } else {
        fail(story, "expected another try after %s, got %" PRId64 " ms", expected, got);
    }
}

/* So many messages of the session's sender, each to one recipient. */
static void do_burst(struct story *story, char *rest)
{
    static struct fact recipient;
    char got[1024] = "", answer[512], last[512] = "", sender[FACT_ROOM];
    char *arrow = strstr(rest, " => ");
    long count = strtol(rest, &rest, 10), same = 0;
    size_t used = 0;

    rest += strspn(rest, " ");
    if (starts(rest, "unknown", &rest)) {
        story->refused = REFUSED_BY_MTA;
    }
    if (arrow == NULL || count < 1) {
        fail(story, "expected burst N RECIPIENT => answers");
        return;
    }
    fact_set(&recipient, rest, (size_t)(arrow - rest));
    snprintf(sender, sizeof sender, "%s", story->sender.bytes);
    for (long i = 0; i <= count; i++) {
        answer[0] = '\0';
        if (i < count) {
            do_mail(story, sender);
            if (!story->in_message) {
                return;
            }
            judge(story, &recipient, POST_MILTER);
            say_verdict(&story->last.verdict, false, answer, sizeof answer);
            end_message(story, story->message.trapped ? OUTCOME_REJECTED : OUTCOME_ACCEPTED);
        }
        if (i > 0 && strcmp(answer, last) != 0 && used < sizeof got) {
            used += (size_t)snprintf(got + used, sizeof got - used, "%s%ld %s",
                                     used > 0 ? ", " : "", same, last);
            same = 0;
        }
        same++;
        snprintf(last, sizeof last, "%s", answer);
    }
    if (strcmp(arrow + 4, got) == 0) {
        story->passed++;
    } else {
        fail(story, "the burst: expected %s, got %s", arrow + 4, got);
    }
}

static void do_line(struct story *story, char *line)
{
    unsigned long times = 1;
    char *rest = line;

    if (starts(line, "repeat", &rest)) {
        times = strtoul(rest, &rest, 10);
        line = rest + strspn(rest, " ");
    }
    story->not_for_mta = starts(line, "elsewhere", &rest);
    story->refused = starts(line, "unknown", &rest) ? REFUSED_BY_MTA : REFUSED_BY_NOBODY;
    if (story->refused != REFUSED_BY_NOBODY || starts(line, "rcpt", &rest)) {
        do_recipient(story, rest, POST_MILTER, times);
    } else if (story->not_for_mta || starts(line, "door", &rest)) {
        do_recipient(story, rest, POST_DOOR, times);
    } else if (times != 1) {
        fail(story, "expected rcpt, unknown, door or elsewhere after repeat");
    } else if (starts(line, "init", &rest)) {
        do_init(story, rest);
    } else if (starts(line, "bad", &rest)) {
        do_bad(story, rest);
    } else if (starts(line, "at", &rest)) {
        do_at(story, rest, false);
    } else if (starts(line, "set", &rest)) {
        do_at(story, rest, true);
    } else if (starts(line, "after", &rest)) {
        do_after(story, rest, false);
    } else if (starts(line, "reboot", &rest)) {
        do_after(story, rest, true);
    } else if (starts(line, "restart", &rest)) {
        do_restart(story);
    } else if (starts(line, "lift", &rest)) {
        do_lift(story, rest);
    } else if (starts(line, "blocks", &rest)) {
        do_blocks(story, rest);
    } else if (starts(line, "burst", &rest)) {
        do_burst(story, rest);
    } else if (starts(line, "retry", &rest)) {
        do_retry(story, rest);
    } else if (starts(line, "client", &rest)) {
        do_client(story, rest);
    } else if (starts(line, "mail", &rest)) {
        do_mail(story, rest);
    } else if (starts(line, "observed", &rest)) {
        do_observed(story, rest);
    } else if (starts(line, "data", &rest)) {
        do_data(story, rest);
    } else {
        fail(story, "expected a statement, got %s", line);
    }
}

/* -- files ---------------------------------------------------------------------------------- */

static void read_story(struct story *story, FILE *file)
{
    static char line[LINE_ROOM], sql[64 * 1024];
    bool in_sql = false;

    while (fgets(line, sizeof line, file) != NULL) {
        bool indented = line[0] == ' ' || line[0] == '\t';
        story->line++;
        line[strcspn(line, "\r\n")] = '\0';
        if (in_sql && indented) {
            size_t used = strlen(sql);
            if (used + strlen(line) + 2 > sizeof sql) {
                fail(story, "expected less SQL in one block");
                return;
            }
            snprintf(sql + used, sizeof sql - used, "%s\n", line);
            continue;
        }
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        if (in_sql) {
            run_sql(story, sql);
            in_sql = false;
        }
        if (strcmp(line, "policy") == 0) {
            in_sql = true;
            sql[0] = '\0';
        } else {
            do_line(story, line);
        }
    }
    if (in_sql) {
        fail(story, "expected a statement after the last policy");
    }
}

static int take_away(const char *path, const struct stat *stat, int type, struct FTW *at)
{
    (void)stat;
    (void)type;
    (void)at;
    return remove(path);
}

static void run_file(const char *name, size_t *passed, size_t *failed)
{
    struct story *story = calloc(1, sizeof *story);
    const char *temporary = getenv("TMPDIR");
    FILE *file = fopen(name, "r");

    if (story == NULL || file == NULL) {
        printf("%s: expected a story, got %s\n", name, strerror(errno));
        (*failed)++;
        goto out;
    }
    story->file = name;
    story->now.wall = INT64_C(1795489200000); /* 2026-11-24 03:00:00 UTC */
    story->now.steady = INT64_C(1000000);
    story->sequence.next = 1;
    story->sequence.limit = 1000000;
    snprintf(story->folder, sizeof story->folder, "%.40s/scenario.XXXXXX",
             temporary != NULL && strlen(temporary) <= 40 ? temporary : "/tmp");
    if (mkdtemp(story->folder) == NULL) {
        fail(story, "expected a folder of its own, got %s: %s", story->folder, strerror(errno));
    } else {
        snprintf(story->path, sizeof story->path, "%s/policy.db", story->folder);
        snprintf(story->state, sizeof story->state, "%s/state.db", story->folder);
        open_state(story);
        read_story(story, file);
        end_message(story, OUTCOME_ABORTED);
        close_state(story);
        nftw(story->folder, take_away, 8, FTW_DEPTH | FTW_PHYS);
    }
    if (story->passed + story->failed == 0) {
        fail(story, "expected an expectation, got none");
    }
    *passed += story->passed;
    *failed += story->failed;
    policy_free(story->policy);
out:
    if (file != NULL) {
        fclose(file);
    }
    free(story);
}

int main(int argc, char **argv)
{
    size_t passed = 0, failed = 0;

    message_hash_start();
    for (int i = 1; i < argc; i++) {
        run_file(argv[i], &passed, &failed);
    }
    printf("%zu passed, %zu failed\n", passed, failed);
    return passed > 0 && failed == 0 ? 0 : 1;
}
