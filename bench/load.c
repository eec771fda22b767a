/* A load of whole SMTP sessions over the milter protocol, with the time of each answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

/* What is timed: an answered stage from its write to its answer, the session from connect() to the
 * answer at end of message. */
enum timed {
    OF_NEGOTIATE,
    OF_CONNECT,
    OF_HELO,
    OF_MAIL,
    OF_RCPT,
    OF_DATA,
    OF_HEADER,
    OF_EOH,
    OF_BODY,
    OF_EOM,
    OF_SESSION,
    TIMED
};

static const char *const timed_name[TIMED] = {"negotiate", "connect", "helo",   "mail",
                                              "rcpt",      "data",    "header", "eoh",
                                              "body",      "eom",     "session"};

enum { CONNECTIONS_MOST = 512, STAGE_HELO = 1, STAGE_RCPT = 2 };

/* One client address in a slot of so many; the list of bench/policies.py leaves the upper half of
 * each slot free, so that every lookup is a whole one and no client is refused. */
enum { SLOT = 2048 };
#define FIRST_SLOT UINT32_C(0x80000000)

struct options {
    const char *socket, *series;
    long connections, domains, logins, slots, idle, idle_stage;
    double seconds, rate;
    uint64_t seed;
    pid_t pid;
};

struct samples {
    uint32_t *at; /* nanoseconds */
    size_t count, room;
};

/* One line of --series: when RCPT was answered (CLOCK_MONOTONIC), and how long that took. */
struct event {
    uint64_t when;
    uint32_t rcpt, session;
};

struct worker {
    const struct options *options;
    pthread_t thread;
    long number;
    uint64_t chance, ends;
    struct samples samples[TIMED];
    struct event *events;
    size_t event_count, event_room;
    long sessions, refused, errors;
};

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

static uint64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

/* xorshift64*: even enough to choose addresses. */
static uint32_t chance(struct worker *worker, uint32_t below)
{
    worker->chance ^= worker->chance >> 12;
    worker->chance ^= worker->chance << 25;
    worker->chance ^= worker->chance >> 27;
    return (uint32_t)((worker->chance * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void note(struct worker *worker, enum timed what, uint64_t since)
{
    struct samples *samples = &worker->samples[what];
    uint64_t took = now() - since;

    if (samples->count == samples->room) {
        size_t room = samples->room == 0 ? 4096 : samples->room * 2;
        uint32_t *at = realloc(samples->at, room * sizeof *at);
        if (at == NULL) {
            abort();
        }
        samples->at = at;
        samples->room = room;
    }
    samples->at[samples->count++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
}

static void note_event(struct worker *worker)
{
    const struct samples *rcpt = &worker->samples[OF_RCPT], *session = &worker->samples[OF_SESSION];

    if (worker->options->series == NULL || rcpt->count == 0 || session->count == 0) {
        return;
    }
    if (worker->event_count == worker->event_room) {
        size_t room = worker->event_room == 0 ? 4096 : worker->event_room * 2;
        struct event *events = realloc(worker->events, room * sizeof *events);
        if (events == NULL) {
            abort();
        }
        worker->events = events;
        worker->event_room = room;
    }
    worker->events[worker->event_count++] =
        (struct event){now(), rcpt->at[rcpt->count - 1], session->at[session->count - 1]};
}

/* The words of one session. */
struct story {
    char client[16], name[64], helo[64], sender[104], sender_address[96], login[96], recipient[104],
        recipient_address[96], connect[128];
    size_t connect_size;
    bool with_login;
};

/* Three of four are strangers who write to us, the fourth is a login of ours that writes outside.
 */
static void invent(struct worker *worker, struct story *story)
{
    const struct options *options = worker->options;
    uint32_t address = FIRST_SLOT + chance(worker, (uint32_t)options->slots) * SLOT + SLOT / 2 +
                       chance(worker, SLOT / 2);
    uint32_t port = 1024 + chance(worker, 60000), who = chance(worker, 100000);

    story->with_login = options->logins > 0 && chance(worker, 4) == 0;
    snprintf(story->client, sizeof story->client, "%u.%u.%u.%u", address >> 24 & 255,
             address >> 16 & 255, address >> 8 & 255, address & 255);
    snprintf(story->name, sizeof story->name, "host%05u.example.net", who);
    snprintf(story->helo, sizeof story->helo, "host%05u.example.net", who);
    story->login[0] = '\0';
    if (story->with_login) {
        snprintf(story->login, sizeof story->login, "user%06u@d00000.example.jp",
                 chance(worker, (uint32_t)options->logins));
        snprintf(story->sender_address, sizeof story->sender_address, "%s", story->login);
        snprintf(story->recipient_address, sizeof story->recipient_address,
                 "friend%05u@example.org", who);
    } else {
        snprintf(story->sender_address, sizeof story->sender_address, "person%05u@example.net",
                 who);
        snprintf(story->recipient_address, sizeof story->recipient_address,
                 "user%06u@d%05u.example.jp", who, chance(worker, (uint32_t)options->domains));
    }
    snprintf(story->sender, sizeof story->sender, "<%s>", story->sender_address);
    snprintf(story->recipient, sizeof story->recipient, "<%s>", story->recipient_address);
    int size = snprintf(story->connect, sizeof story->connect, "%s%c4%c%c%s", story->name, '\0',
                        (char)(port >> 8), (char)(port & 255), story->client);
    story->connect_size = (size_t)size + 1;
}

/* Sends a stage; where it is answered, waits and times it. The answer's letter, 'c' for a silent
 * stage, 0 when broken. */
static char stage(struct worker *worker, struct wire *wire, enum timed what, uint32_t silent)
{
    uint64_t since = now();
    char letter;

    wire_send(wire);
    if ((wire->steps & silent) != 0) {
        return wire->broken ? 0 : 'c';
    }
    letter = wire_answer(wire);
    if (letter != 0) {
        note(worker, what, since);
    }
    return letter;
}

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Connect and HELO. */
static bool begin(struct worker *worker, struct wire *wire, const struct story *story)
{
    static const struct wire_macro here[] = {{"j", "mx.example.jp"},
                                             {"{daemon_name}", "mx.example.jp"},
                                             {"{daemon_addr}", "192.0.2.25"},
                                             {"{daemon_port}", "25"},
                                             {"v", "Postfix 3.7.11"}};
    uint64_t since = now();

    if (!wire_negotiate(wire)) {
        return false;
    }
    note(worker, OF_NEGOTIATE, since);
    wire_put_macros(wire, AT_CONNECT, here, COUNT(here));
    wire_put(wire, 'C', story->connect, story->connect_size);
    if (stage(worker, wire, OF_CONNECT, STEP_SILENT_CONNECT) != 'c') {
        return false;
    }
    wire_put(wire, 'H', story->helo, strlen(story->helo) + 1);
    return stage(worker, wire, OF_HELO, STEP_SILENT_HELO) == 'c';
}

/* MAIL and one RCPT; the answer's letter. */
static char envelope(struct worker *worker, struct wire *wire, const struct story *story)
{
    const struct wire_macro mail[] = {{"{auth_type}", "PLAIN"},
                                      {"{auth_authen}", story->login},
                                      {"{mail_addr}", story->sender_address},
                                      {"{mail_host}", "example.net"},
                                      {"{mail_mailer}", "smtp"}};
    const struct wire_macro rcpt[] = {{"i", "4ABCDEF012"},
                                      {"{rcpt_addr}", story->recipient_address},
                                      {"{rcpt_host}", "example.jp"},
                                      {"{rcpt_mailer}", story->with_login ? "smtp" : "local"}};
    size_t skipped = story->with_login ? 0 : 2;

    wire_put_macros(wire, AT_MAIL, mail + skipped, COUNT(mail) - skipped);
    wire_put(wire, 'M', story->sender, strlen(story->sender) + 1);
    if (stage(worker, wire, OF_MAIL, STEP_SILENT_MAIL) != 'c') {
        return 0;
    }
    wire_put_macros(wire, AT_RCPT, rcpt, COUNT(rcpt));
    wire_put(wire, 'R', story->recipient, strlen(story->recipient) + 1);
    return stage(worker, wire, OF_RCPT, STEP_SILENT_RCPT);
}

/* DATA to end of message, with what the filter has not declined. */
static bool message(struct worker *worker, struct wire *wire)
{
    static const struct wire_macro queue[] = {{"i", "4ABCDEF012"}};
    static const char *const headers[] = {
        "From",    " <person@example.net>", "To",         " <user@example.jp>",
        "Subject", " to be measured",       "Message-ID", " <1@example.net>"};
    static const char body[] = "Nothing to read here.\r\n";
    bool going = true;

    if ((wire->steps & STEP_NO_DATA) == 0) {
        wire_put_macros(wire, AT_DATA, queue, COUNT(queue));
        wire_put(wire, 'T', NULL, 0);
        going = stage(worker, wire, OF_DATA, STEP_SILENT_DATA) == 'c';
    }
    for (size_t i = 0; going && i < COUNT(headers) && (wire->steps & STEP_NO_HEADERS) == 0;
         i += 2) {
        char line[128];
        int size = snprintf(line, sizeof line, "%s%c%s", headers[i], '\0', headers[i + 1]);
        wire_put(wire, 'L', line, (size_t)size + 1);
        going = stage(worker, wire, OF_HEADER, STEP_SILENT_HEADER) == 'c';
    }
    if (going && (wire->steps & STEP_NO_EOH) == 0) {
        wire_put(wire, 'N', NULL, 0);
        going = stage(worker, wire, OF_EOH, STEP_SILENT_EOH) == 'c';
    }
    if (going && (wire->steps & STEP_NO_BODY) == 0) {
        wire_put(wire, 'B', body, sizeof body - 1);
        going = stage(worker, wire, OF_BODY, STEP_SILENT_BODY) == 'c';
    }
    if (!going) {
        return false;
    }
    wire_put_macros(wire, AT_EOM, queue, COUNT(queue));
    wire_put(wire, 'E', NULL, 0);
    return stage(worker, wire, OF_EOM, 0) == 'c';
}

static void session(struct worker *worker)
{
    struct story story;
    struct wire wire;
    char letter = 0;
    bool whole = false;

    invent(worker, &story);
    uint64_t since = now();
    if (wire_open(&wire, worker->options->socket) && begin(worker, &wire, &story)) {
        letter = envelope(worker, &wire, &story);
        if (letter == 'c') {
            whole = message(worker, &wire);
        } else if (letter != 0 && strchr("rty", letter) != NULL) {
            worker->refused++;
            wire_put(&wire, 'A', NULL, 0);
            whole = true;
        }
    }
    if (whole && !wire.broken) {
        note(worker, OF_SESSION, since);
        note_event(worker);
        wire_put(&wire, 'Q', NULL, 0);
        wire_send(&wire);
        worker->sessions++;
    } else {
        worker->errors++;
    }
    wire_close(&wire);
}

static void sleep_until(uint64_t when)
{
    struct timespec time = {(time_t)(when / UINT64_C(1000000000)),
                            (long)(when % UINT64_C(1000000000))};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    const struct options *options = worker->options;
    uint64_t pause = 0, next = now();

    if (options->rate > 0) {
        pause = (uint64_t)(1e9 * (double)options->connections / options->rate);
        next += pause * (uint64_t)worker->number / (uint64_t)options->connections;
    }
    while (!stopping && now() < worker->ends && worker->errors < 10) {
        if (pause > 0) {
            sleep_until(next);
            next += pause;
            uint64_t late = now();
            next = late > next + pause ? late : next; /* no bursts to make up for a stall */
        }
        session(worker);
    }
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static double cpu_of(pid_t pid)
{
    struct timespec time = {0, 0};
    clockid_t clock;

    if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
        return 0;
    }
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void print_timed(struct worker *workers, long count, enum timed what)
{
    size_t total = 0, used = 0;

    for (long i = 0; i < count; i++) {
        total += workers[i].samples[what].count;
    }
    uint32_t *all = malloc((total + 1) * sizeof *all);
    if (total == 0 || all == NULL) {
        free(all);
        return;
    }
    for (long i = 0; i < count; i++) {
        const struct samples *samples = &workers[i].samples[what];
        if (samples->count > 0) {
            memcpy(all + used, samples->at, samples->count * sizeof *all);
            used += samples->count;
        }
    }
    qsort(all, total, sizeof *all, by_size);
    printf(", \"%s\": {\"n\": %zu, \"p50\": %" PRIu32 ", \"p99\": %" PRIu32 ", \"most\": %" PRIu32
           "}",
           timed_name[what], total, all[total / 2], all[total - 1 - total / 100], all[total - 1]);
    free(all);
}

static int measure(const struct options *options)
{
    static struct worker workers[CONNECTIONS_MOST];
    FILE *series = options->series != NULL ? fopen(options->series, "wb") : NULL;
    long sessions = 0, refused = 0, errors = 0;
    double cpu = cpu_of(options->pid);
    uint64_t since = now();

    for (long i = 0; i < options->connections; i++) {
        workers[i].options = options;
        workers[i].number = i;
        workers[i].chance = (options->seed + (uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        workers[i].ends = since + (uint64_t)(options->seconds * 1e9);
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fprintf(stderr, "load: no thread for connection %ld\n", i);
            exit(1);
        }
    }
    for (long i = 0; i < options->connections; i++) {
        pthread_join(workers[i].thread, NULL);
        sessions += workers[i].sessions;
        refused += workers[i].refused;
        errors += workers[i].errors;
    }
    double seconds = (double)(now() - since) / 1e9;
    cpu = cpu_of(options->pid) - cpu;
    printf("{\"connections\": %ld, \"seconds\": %.4f, \"sessions\": %ld, \"refused\": %ld, "
           "\"errors\": %ld, \"rate\": %.1f, \"cpu\": %.3f",
           options->connections, seconds, sessions, refused, errors, (double)sessions / seconds,
           sessions > 0 ? cpu * 1e6 / (double)sessions : 0);
    for (int what = 0; what < TIMED; what++) {
        print_timed(workers, options->connections, (enum timed)what);
    }
    printf("}\n");
    for (long i = 0; series != NULL && i < options->connections; i++) {
        fwrite(workers[i].events, sizeof(struct event), workers[i].event_count, series);
    }
    if (series != NULL) {
        fclose(series);
    }
    return errors > 0 || sessions == 0;
}

/* Opens so many sessions, leaves them at a stage, says so, and ends when standard input does. */
static int idle(const struct options *options)
{
    static struct worker worker;
    struct wire *wires = calloc((size_t)options->idle, sizeof *wires);
    long open = 0;
    char byte;

    worker.options = options;
    worker.chance = options->seed + 1;
    for (; wires != NULL && open < options->idle; open++) {
        struct story story;
        invent(&worker, &story);
        if (!wire_open(&wires[open], options->socket) || !begin(&worker, &wires[open], &story) ||
            (options->idle_stage == STAGE_RCPT && envelope(&worker, &wires[open], &story) == 0)) {
            break;
        }
    }
    printf("{\"idle\": %ld}\n", open);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    return wires == NULL || open < options->idle;
}

static _Noreturn void usage(void)
{
    fprintf(stderr,
            "usage: load --socket PATH [--connections N] [--seconds S] [--rate SESSIONS_A_SECOND]\n"
            "            [--domains N] [--logins N] [--slots N] [--seed N] [--pid FILTER]\n"
            "            [--series FILE]\n"
            "       load --socket PATH --idle N --stage helo|rcpt\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"socket", 1, NULL, 's'}, {"connections", 1, NULL, 'c'}, {"seconds", 1, NULL, 't'},
        {"rate", 1, NULL, 'r'},   {"domains", 1, NULL, 'd'},     {"logins", 1, NULL, 'l'},
        {"slots", 1, NULL, 'n'},  {"seed", 1, NULL, 'e'},        {"pid", 1, NULL, 'p'},
        {"series", 1, NULL, 'f'}, {"idle", 1, NULL, 'i'},        {"stage", 1, NULL, 'g'},
        {NULL, 0, NULL, 0}};
    struct options options = {.connections = 1,
                              .domains = 1,
                              .logins = 1,
                              .slots = 1000000,
                              .seconds = 1,
                              .idle_stage = STAGE_HELO};
    struct rlimit files;
    int letter;

    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 's':
            options.socket = optarg;
            break;
        case 'c':
            options.connections = strtol(optarg, NULL, 10);
            break;
        case 't':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'r':
            options.rate = strtod(optarg, NULL);
            break;
        case 'd':
            options.domains = strtol(optarg, NULL, 10);
            break;
        case 'l':
            options.logins = strtol(optarg, NULL, 10);
            break;
        case 'n':
            options.slots = strtol(optarg, NULL, 10);
            break;
        case 'e':
            options.seed = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            options.pid = (pid_t)strtol(optarg, NULL, 10);
            break;
        case 'f':
            options.series = optarg;
            break;
        case 'i':
            options.idle = strtol(optarg, NULL, 10);
            break;
        case 'g':
            options.idle_stage = strcmp(optarg, "rcpt") == 0 ? STAGE_RCPT : STAGE_HELO;
            break;
        default:
            usage();
        }
    }
    if (options.socket == NULL || optind < argc || options.connections < 1 ||
        options.connections > CONNECTIONS_MOST || options.domains < 1 || options.slots < 1 ||
        options.slots > 1000000 || options.logins < 0) {
        usage();
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGTERM, stop);
    return options.idle > 0 ? idle(&options) : measure(&options);
}
