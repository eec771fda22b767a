/* sekisho-milter: options, sockets, signals; then libmilter and the permit door serve. */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE /* pthread_setattr_default_np */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "callbacks.h"
#include "listen.h"
#include "live/engine.h"
#include "log.h"
#include "notify.h"
#include "permit.h"
#include "probe.h"
#include "watch.h"

enum {
    BACKLOG = 1024,
    DESCRIPTORS = 65536,
    EXIT_USAGE = 2,
    FINISH_MS = 3000, /* for sessions that are under way, */
    DRAIN_MS = 1000,  /* and then for callbacks that are: with the log's second, 5 s in all */
    STACK_SIZE = 512 * 1024
};

struct options {
    const char *policy, *state, *socket, *permit;
    bool to_stderr, json;
};

static void usage(FILE *to)
{
    fprintf(to, "usage: sekisho-milter [--policy FILE] [--state FILE] [--socket SPEC] "
                "[--permit SPEC] [--stderr] [--log text|json]\n"
                "       sekisho-milter --help | --version\n"
                "SPEC: unix:PATH, inet:PORT@127.0.0.1, inet6:PORT@::1 or fd:N\n");
}

/* Exits by itself for --help, --version and wrong words. */
static void read_options(int argc, char **argv, struct options *options)
{
    static const struct option known[] = {{"policy", required_argument, NULL, 'p'},
                                          {"state", required_argument, NULL, 's'},
                                          {"socket", required_argument, NULL, 'k'},
                                          {"permit", required_argument, NULL, 'd'},
                                          {"stderr", no_argument, NULL, 'e'},
                                          {"log", required_argument, NULL, 'l'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int letter;

    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'p':
            options->policy = optarg;
            break;
        case 's':
            options->state = optarg;
            break;
        case 'k':
            options->socket = optarg;
            break;
        case 'd':
            options->permit = optarg;
            break;
        case 'e':
            options->to_stderr = true;
            break;
        case 'l':
            options->json = strcmp(optarg, "json") == 0;
            if (!options->json && strcmp(optarg, "text") != 0) {
                fprintf(stderr, "sekisho-milter: --log %s: write text or json\n", optarg);
                exit(EXIT_USAGE);
            }
            break;
        case 'h':
            usage(stdout);
            exit(0);
        case 'v':
            printf("sekisho-milter %s\n", SEKISHO_VERSION);
            exit(0);
        default:
            usage(stderr);
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "sekisho-milter: %s: not an option\n", argv[optind]);
        usage(stderr);
        exit(EXIT_USAGE);
    }
}

static void *run_milter(void *signals)
{
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    enum status status = callbacks_run();
    /* libmilter may end by itself: the main thread must hear of it */
    kill(getpid(), SIGTERM);
    return status == STATUS_OK ? NULL : (void *)1;
}

/* At EMFILE libmilter's listener spins: raise the limit as far as it goes. */
static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS) {
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > DESCRIPTORS
                             ? DESCRIPTORS
                             : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* libmilter makes and ends threads all the time. The C library keeps 40 MB of stacks of ended ones:
 * of 8 MB, the default, that is five, and every other thread costs a mapping and its page faults.
 */
static void shrink_stacks(void)
{
#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__) /* whose threads need more */
    pthread_attr_t attributes;

    if (pthread_attr_init(&attributes) == 0) {
        if (pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0) {
            pthread_setattr_default_np(&attributes);
        }
        pthread_attr_destroy(&attributes);
    }
#endif
}

static int signal_pipe[2] = {-1, -1};
static volatile sig_atomic_t ending;

static void on_signal(int number)
{
    int kept = errno;

    ending |= number != SIGHUP;
    ssize_t wrote = write(signal_pipe[1], "", 1);
    (void)wrote; /* a full pipe wakes as well */
    errno = kept;
}

/* From here on signals reach the main thread, and no other: every other thread has them blocked,
 * and libmilter's own one does not wait for them (interpose.c). */
static void take_signals(const sigset_t *signals)
{
    static const int numbers[] = {SIGHUP, SIGTERM, SIGINT};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = 0};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaction(numbers[i], &action, NULL);
    }
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
}

/* Waits for signals: HUP looks at the policy, TERM and INT end. */
static void wait_for_end(struct engine *engine)
{
    char byte;

    while (!ending) {
        if (read(signal_pipe[0], &byte, 1) == 1 && !ending) {
            engine_look(engine);
            log_sentence(NULL, LOG_INFO, "SIGHUP: looking at the policy now");
        }
    }
}

int main(int argc, char **argv)
{
    struct options options = {"/etc/sekisho/policy.db",
                              "/var/lib/sekisho/state.db",
                              "unix:/run/sekisho/milter.sock",
                              "unix:/run/sekisho/permit.sock",
                              false,
                              false};
    struct listen_spec milter_spec = {.lock = -1}, permit_spec = {.lock = -1};
    struct engine *engine = NULL;
    struct permit *permit = NULL;
    struct notify notify;
    struct probe probe = {.wake = -1};
    struct watch *watch = NULL;
    struct why why = {""};
    pthread_t milter_thread;
    bool serving = false;
    sigset_t signals;
    void *milter_failed = NULL;
    int listener = -1, answer = 1;

    read_options(argc, argv, &options);
    log_open(options.to_stderr, options.json);
    if (listen_parse("--socket", options.socket, &milter_spec, &why) != STATUS_OK ||
        listen_parse("--permit", options.permit, &permit_spec, &why) != STATUS_OK) {
        fprintf(stderr, "sekisho-milter: %s\n", why.text);
        return EXIT_USAGE;
    }
    /* Before the first thread, so that none of them is interrupted. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    shrink_stacks();
    log_start();
    if (notify_open(&notify, &why) != STATUS_OK) {
        goto out;
    }
    umask(0007); /* nothing of ours is for others */
    if (pipe(signal_pipe) != 0) {
        why_set(&why, STATUS_BROKEN, "no pipe for signals: %s", strerror(errno));
        goto out;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC);
    }
    fcntl(signal_pipe[1], F_SETFL, O_NONBLOCK);
    if (listen_claim(&milter_spec, &why) != STATUS_OK ||
        listen_claim(&permit_spec, &why) != STATUS_OK) {
        goto out;
    }
    if (engine_open(options.policy, options.state, log_sentence, NULL, &engine, &why) !=
        STATUS_OK) {
        goto out;
    }
    listener = listen_open(&permit_spec, BACKLOG, &why);
    if (listener < 0 || listen_guard(&permit_spec, &why) != STATUS_OK ||
        permit_start(engine, listener, &permit, &why) != STATUS_OK) {
        goto out;
    }
    if (callbacks_register(engine, options.socket, BACKLOG, &why) != STATUS_OK ||
        listen_guard(&milter_spec, &why) != STATUS_OK) {
        goto out;
    }
    if (notify.socket >= 0 && watch_name(&probe, &why) != STATUS_OK) {
        goto out;
    }
    callbacks_probes(probe.name);
    take_signals(&signals);
    int code = pthread_create(&milter_thread, NULL, run_milter, &signals);
    if (code != 0) {
        why_set(&why, STATUS_BROKEN, "the milter's thread cannot be made: %s", strerror(code));
        goto out;
    }
    serving = true;
    log_sentence(NULL, LOG_INFO, "serving");
    probe.milter = milter_spec;
    probe.permit = permit_spec;
    if (watch_start(engine, &probe, &notify, &watch, &why) != STATUS_OK) {
        goto out;
    }
    wait_for_end(engine);
    log_sentence(NULL, LOG_INFO, "stopping");
    answer = 0;
out:
    if (why.text[0] != '\0') {
        log_sentence(NULL, LOG_ERR, why.text);
        if (!options.to_stderr) {
            fprintf(stderr, "sekisho-milter: %s\n", why.text);
        }
    }
    watch_stop(watch);
    if (serving) {
        callbacks_finish(FINISH_MS);
        callbacks_stop(&milter_spec);
        pthread_join(milter_thread, &milter_failed);
        answer = milter_failed != NULL || answer != 0 ? 1 : 0;
    }
    permit_stop(permit); /* sessions ask it too, so it goes after them */
    listen_leave(&permit_spec);
    if (serving) {
        listen_leave(&milter_spec);
    }
    bool drained = callbacks_drain(DRAIN_MS);
    if (drained) {
        engine_close(engine);
    }
    if (!log_stop() || !drained) {
        _exit(answer); /* a thread hangs: the kernel takes it all back */
    }
    return answer;
}
