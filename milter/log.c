/* The log: one line a decision, as text or JSON; syslog is spoken to by a thread of its own. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "core/decision_json.h"
#include "core/stamp.h"
#include "live/moment.h"

enum {
    SHOWN = 320,         /* at most so many octets of a text from outside are shown */
    LINE_MOST = 7680,    /* four such texts, escaped, and all else, or in JSON six that became */
    JSON_SHOWN = 720,    /* at most so many octets each */
    RING_SIZE = 1 << 20, /* octets that wait for the thread */
    GATHER_NS = 5000000, /* so long lines gather where some have just been written */
    STOP_SECONDS = 1
};

static const char prefix[] = "sekisho-milter: ";

/* -- writing -------------------------------------------------------------------------------- */

/* What waits: {priority, size, text} one behind the other, taken all at once by the thread, which
 * has a second buffer of the same size to write from. */
struct waiting {
    int priority;
    size_t size;
};

static struct {
    bool to_stderr, json, running, stopping, done;
    bool idle; /* the thread waits to be woken: not for each line while there are many */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    char *ring, *taken;
    size_t used;
    unsigned long lost;
} the_log = {
    .to_stderr = true, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* text has room for a line end and a NUL behind size; unless it is JSON it begins with the prefix,
 * which syslog writes by itself. */
static void write_line(int priority, char *text, size_t size)
{
    if (!the_log.to_stderr) {
        text[size] = '\0';
        syslog(priority, "%s", text + (the_log.json ? 0 : sizeof prefix - 1));
        return;
    }
    text[size++] = '\n';
    while (size > 0) {
        ssize_t wrote = write(STDERR_FILENO, text, size);
        if (wrote < 0 && errno != EINTR) {
            return; /* nowhere to complain */
        }
        text += wrote > 0 ? wrote : 0;
        size -= wrote > 0 ? (size_t)wrote : 0;
    }
}

static void begin_json(struct jsonl *to, char *text, int priority, const char *event);

static void write_lost(unsigned long lost)
{
    char text[LINE_MOST + 2];
    struct jsonl line;
    size_t size;

    if (the_log.json) {
        begin_json(&line, text, LOG_ERR, "lost");
        jsonl_number(&line, "lines", (int64_t)lost);
        size = jsonl_end(&line);
    } else {
        size = (size_t)snprintf(text, sizeof text - 2, "%slog too slow: %lu lines were lost",
                                prefix, lost);
    }
    write_line(LOG_ERR, text, size);
}

static void *write_lines(void *unused)
{
    static const struct timespec gather = {0, GATHER_NS};

    (void)unused;
    pthread_mutex_lock(&the_log.lock);
    while (!the_log.stopping || the_log.used > 0) {
        if (the_log.used == 0) {
            the_log.idle = true;
            pthread_cond_wait(&the_log.changed, &the_log.lock);
            continue;
        }
        the_log.idle = false;
        char *taken = the_log.ring;
        size_t used = the_log.used;
        unsigned long lost = the_log.lost;
        bool stopping = the_log.stopping;
        the_log.ring = the_log.taken;
        the_log.taken = taken;
        the_log.used = 0;
        the_log.lost = 0;
        pthread_mutex_unlock(&the_log.lock);
        for (size_t at = 0; at < used;) {
            struct waiting waiting;
            char text[LINE_MOST + 2];
            memcpy(&waiting, taken + at, sizeof waiting);
            memcpy(text, taken + at + sizeof waiting, waiting.size);
            write_line(waiting.priority, text, waiting.size);
            at += sizeof waiting + waiting.size;
        }
        if (lost > 0) {
            write_lost(lost);
        }
        if (!stopping) {
            nanosleep(&gather, NULL);
        }
        pthread_mutex_lock(&the_log.lock);
    }
    the_log.done = true;
    pthread_cond_broadcast(&the_log.changed);
    pthread_mutex_unlock(&the_log.lock);
    return NULL;
}

void log_open(bool to_stderr, bool json)
{
    the_log.to_stderr = to_stderr;
    the_log.json = json;
    if (!to_stderr) {
        openlog("sekisho-milter", LOG_PID | LOG_NDELAY, LOG_MAIL);
    }
}

void log_start(void)
{
    if (the_log.to_stderr) {
        return;
    }
    the_log.ring = malloc(RING_SIZE);
    the_log.taken = malloc(RING_SIZE);
    the_log.running = the_log.ring != NULL && the_log.taken != NULL &&
                      pthread_create(&the_log.thread, NULL, write_lines, NULL) == 0;
}

bool log_stop(void)
{
    struct timespec until;
    bool done = true;

    if (!the_log.running) {
        return true;
    }
    until.tv_sec = (time_t)(moment_now().wall / 1000 + STOP_SECONDS);
    until.tv_nsec = 999999999;
    pthread_mutex_lock(&the_log.lock);
    the_log.stopping = true;
    pthread_cond_broadcast(&the_log.changed);
    while (!the_log.done && pthread_cond_timedwait(&the_log.changed, &the_log.lock, &until) == 0) {
    }
    done = the_log.done;
    pthread_mutex_unlock(&the_log.lock);
    if (done) {
        pthread_join(the_log.thread, NULL);
        the_log.running = false;
        free(the_log.ring);
        free(the_log.taken);
        the_log.ring = the_log.taken = NULL;
    }
    return done;
}

/* -- lines ---------------------------------------------------------------------------------- */

/* A line on its way: what does not fit is cut. */
struct line {
    size_t size;
    char text[LINE_MOST + 2];
};

static void begin(struct line *line)
{
    memcpy(line->text, prefix, sizeof prefix - 1);
    line->size = sizeof prefix - 1;
}

static void add(struct line *line, const char *text, size_t size)
{
    size_t room = LINE_MOST - line->size;

    size = size < room ? size : room;
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void add_word(struct line *line, const char *text)
{
    add(line, text, strlen(text));
}

static void add_number(struct line *line, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    add(line, digits + at, sizeof digits - at);
}

static void end(int priority, struct line *line)
{
    struct waiting waiting = {priority, line->size};

    if (!the_log.running) { /* changes only while there is one thread that logs */
        write_line(priority, line->text, line->size);
        return;
    }
    pthread_mutex_lock(&the_log.lock);
    if (the_log.used + sizeof waiting + line->size > RING_SIZE) {
        the_log.lost++;
    } else {
        memcpy(the_log.ring + the_log.used, &waiting, sizeof waiting);
        memcpy(the_log.ring + the_log.used + sizeof waiting, line->text, line->size);
        the_log.used += sizeof waiting + line->size;
        if (the_log.idle) {
            the_log.idle = false;
            pthread_cond_signal(&the_log.changed);
        }
    }
    pthread_mutex_unlock(&the_log.lock);
}

/* -- lines of JSON -------------------------------------------------------------------------- */

static const char *level_name(int priority)
{
    return priority <= LOG_ERR       ? "error"
           : priority == LOG_WARNING ? "warning"
           : priority == LOG_NOTICE  ? "notice"
                                     : "info";
}

/* Every line says what it is and how much it matters; a decision brings its own time. */
static void begin_json(struct jsonl *to, char *text, int priority, const char *event)
{
    char at[STAMP_TEXT];

    jsonl_begin(to, text, LINE_MOST + 1);
    jsonl_word(to, "event", event);
    jsonl_word(to, "level", level_name(priority));
    if (strcmp(event, "decision") != 0) {
        stamp_write(moment_now().wall, true, at);
        jsonl_word(to, "at", at);
    }
}

static void end_json(int priority, struct jsonl *to, struct line *line)
{
    line->size = jsonl_end(to);
    if (line->size == 0) { /* cannot be: LINE_MOST is enough */
        begin_json(to, line->text, LOG_ERR, "lost");
        jsonl_number(to, "lines", 1);
        line->size = jsonl_end(to);
    }
    end(priority, line);
}

/* A text that may hold what came from outside. */
static void json_text(struct jsonl *to, const char *name, const char *text)
{
    bool escaped;

    if (text[0] == '\0') {
        jsonl_null(to, name);
    } else {
        jsonl_text(to, name, text, strlen(text), JSON_SHOWN, &escaped);
    }
}

/* Who has logged in, or whose login window it is. */
static struct text login_of(const struct facts *facts, const struct judged *judged)
{
    return judged->verdict.kind == KIND_WINDOW
               ? (struct text){judged->window, strlen(judged->window)}
               : facts->login;
}

static void json_decision(const char *session, const char *queue, const struct facts *facts,
                          const struct judged *judged, bool mta_refused, int priority)
{
    struct facts told = *facts;
    struct decision decision;
    char at[STAMP_TEXT];
    struct line line;
    struct jsonl to;

    told.login = login_of(facts, judged);
    decision_begin(&decision, &told, SHOWN);
    decision.number = judged->number;
    decision.generation = judged->generation;
    decision.mta_refused = mta_refused;
    decision.session = (struct text){session, strnlen(session, DECISION_ID)};
    decision.queue = (struct text){queue, strnlen(queue, DECISION_ID)};
    decision.verdict = judged->verdict;
    decision.blocks = judged->blocked[0] != '\0';
    decision.block_subject = (struct text){judged->blocked, strlen(judged->blocked)};
    stamp_write(moment_now().wall, true, at);
    begin_json(&to, line.text, priority, "decision");
    decision_json(&to, &decision, at, "", JSON_SHOWN);
    end_json(priority, &to, &line);
}

/* -- what is said --------------------------------------------------------------------------- */

void log_sentence(void *context, int priority, const char *sentence)
{
    char shown[2048];
    struct line line;

    (void)context;
    if (the_log.json) {
        struct jsonl to;
        begin_json(&to, line.text, priority, "note");
        json_text(&to, "text", sentence);
        end_json(priority, &to, &line);
        return;
    }
    begin(&line);
    printable_copy(shown, sizeof shown, sentence, strlen(sentence), 500);
    /* a quote in a sentence is a quote: only fields need the escape */
    for (const char *at = shown; *at != '\0'; at++) {
        if (strncmp(at, "\\x22", 4) == 0 || strncmp(at, "\\x5c", 4) == 0) {
            add(&line, at[2] == '2' ? "\"" : "\\", 1);
            at += 3;
        } else {
            add(&line, at, 1);
        }
    }
    end(priority, &line);
}

static void add_rule(struct line *line, const char *name, struct rule rule)
{
    add_word(line, name);
    if (rule.table == TABLE_NONE) {
        add_word(line, "-");
        return;
    }
    add_word(line, table_name(rule.table));
    add_word(line, ":");
    add_number(line, (uint64_t)rule.row);
}

static void add_field(struct line *line, const char *name, struct text text)
{
    add_word(line, name);
    line->size += printable_copy(line->text + line->size, LINE_MOST - line->size + 1, text.bytes,
                                 text.size, SHOWN);
    add_word(line, "\"");
}

static void add_pair(struct line *line, const char *name, const char *value)
{
    add_word(line, name);
    add_word(line, value);
}

/* A session or queue id as one word, so that what follows it cannot be forged. */
static void add_id(struct line *line, const char *name, const char *id)
{
    add_pair(line, name, id[0] != '\0' ? "" : "-");
    for (;;) {
        size_t good = strcspn(id, " =");
        add(line, id, good);
        id += good;
        if (*id == '\0') {
            return;
        }
        add(line, "_", 1);
        id++;
    }
}

/* An IPv4 address as ip_text writes it: nearly every client has one. */
static void add_ip(struct line *line, const struct ip *ip)
{
    char text[IP_TEXT];

    if (!ip_is_ipv4(ip)) {
        ip_text(ip, text);
        add_word(line, text);
        return;
    }
    for (int i = 12; i < 16; i++) {
        add_number(line, ip->byte[i]);
        add(line, ".", i < 15);
    }
}

void log_decision(const char *where, const char *session, const char *queue,
                  const struct facts *facts, const struct judged *judged, bool mta_refused)
{
    const struct verdict *verdict = &judged->verdict;
    int priority = verdict->action == ACTION_PASS ? LOG_INFO : LOG_NOTICE;
    struct line line;

    if (the_log.json) {
        json_decision(session, queue, facts, judged, mta_refused, priority);
        return;
    }
    begin(&line);
    add_word(&line, "decision=");
    add_number(&line, judged->number);
    add_pair(&line, " action=", action_name(verdict->action));
    add_pair(&line, " reason=", reason_row(verdict->reason)->name);
    add_rule(&line, " row=", verdict->rule);
    add_pair(&line, " at=", where);
    add_id(&line, " session=", session);
    add_id(&line, " queue=", queue);
    add_pair(&line, " kind=", kind_name(verdict->kind));
    add_word(&line, " client=");
    if (facts->client_known) {
        add_ip(&line, &facts->client);
    } else {
        add_word(&line, "unknown");
    }
    add_field(&line, " helo=\"", facts->helo);
    add_field(&line, " login=\"", login_of(facts, judged));
    add_field(&line, " from=\"", facts->sender);
    add_field(&line, " to=\"", facts->recipient);
    add_word(&line, " policy=");
    add_number(&line, judged->generation);
    if (verdict->observed) {
        add_pair(&line, " observed=", reason_row(verdict->observed_reason)->name);
        add_rule(&line, " observed_row=", verdict->observed_rule);
    }
    if (mta_refused) {
        add_word(&line, " mta=refused");
    }
    if (judged->blocked[0] != '\0') {
        add_id(&line, " blocked=", judged->blocked);
    }
    end(priority, &line);
}

void log_message(const char *session, const char *queue, const char *how, size_t accepted,
                 size_t refused, const char *reason, uint64_t number)
{
    struct line line;

    if (the_log.json) {
        struct jsonl to;
        begin_json(&to, line.text, LOG_INFO, "message");
        json_text(&to, "session", session);
        json_text(&to, "queue_id", queue);
        jsonl_word(&to, "outcome", how);
        jsonl_number(&to, "accepted", (int64_t)accepted);
        jsonl_number(&to, "refused", (int64_t)refused);
        jsonl_word(&to, "reason", reason);
        if (number != 0) {
            jsonl_number(&to, "number", (int64_t)number);
        } else {
            jsonl_null(&to, "number");
        }
        end_json(LOG_INFO, &to, &line);
        return;
    }
    begin(&line);
    add_id(&line, "message session=", session);
    add_id(&line, " queue=", queue);
    add_pair(&line, " end=", how);
    add_word(&line, " accepted=");
    add_number(&line, accepted);
    add_word(&line, " refused=");
    add_number(&line, refused);
    if (number != 0) {
        add_pair(&line, " reason=", reason);
        add_word(&line, " decision=");
        add_number(&line, number);
    }
    end(LOG_INFO, &line);
}
