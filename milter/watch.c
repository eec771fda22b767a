/* The watchdog: tells the service manager that we serve, as long as our own doors answer us. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include "live/moment.h"
#include "log.h"

enum {
    LOOK_EVERY = 1000,      /* ms between looks whether STATUS has changed */
    READY_AGAIN = 200,      /* ms until doors that did not answer at the start are asked again */
    READY_PATIENCE = 10000, /* ms for an answer when there is no watchdog */
    PULSE_LEAST = 3000      /* ms: the keeper goes round once a second, and may read a policy */
};

struct watch {
    struct engine *engine;
    struct notify notify;
    struct probe probe;
    int wake[2];
    pthread_t thread;
    bool ready, told;
    int64_t next; /* steady: when the doors are asked again */
    char said[KEEPER_SENTENCE];
};

enum status watch_name(struct probe *probe, struct why *why)
{
    unsigned char chance[16];
    int size = snprintf(probe->name, sizeof probe->name, "probe-");

    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance) {
        return why_set(why, STATUS_BROKEN, "no random number from the kernel: %s", strerror(errno));
    }
    for (size_t i = 0; i < sizeof chance; i++) {
        size += snprintf(probe->name + size, sizeof probe->name - (size_t)size, "%02x", chance[i]);
    }
    return STATUS_OK;
}

static enum status ask(struct watch *watch, int64_t until, struct why *why)
{
    enum status status = probe_milter(&watch->probe, until, why);
    int64_t most =
        watch->notify.watchdog_ms > PULSE_LEAST ? watch->notify.watchdog_ms : PULSE_LEAST;

    if (status == STATUS_OK) {
        status = probe_permit(&watch->probe, until, why);
    }
    int64_t still = moment_now().steady - engine_pulse(watch->engine);
    if (status == STATUS_OK && still > most) {
        status = why_set(why, STATUS_BROKEN,
                         "the thread that reads policy.db has been standing still for %lld s",
                         (long long)(still / 1000));
    }
    return status;
}

/* Asks the doors when it is time to, and passes a good answer on. */
static void look(struct watch *watch)
{
    int64_t now = moment_now().steady, third = watch->notify.watchdog_ms / 3;
    struct pollfd stopped = {watch->wake[0], POLLIN, 0};
    char sentence[sizeof(struct why) + 64];
    struct why why = {""};

    if (now < watch->next || (watch->ready && third == 0)) {
        return;
    }
    enum status status = ask(watch, now + (third > 0 ? third : READY_PATIENCE), &why);
    watch->next = now + (watch->ready ? third : READY_AGAIN);
    if (status == STATUS_OK) {
        notify_send(&watch->notify, watch->ready ? "WATCHDOG=1" : "READY=1");
        if (watch->told) {
            log_sentence(NULL, LOG_NOTICE, "watchdog: both doors answer again");
        }
        watch->told = false;
        watch->next = watch->ready ? watch->next : now + third;
        watch->ready = true;
    } else if (poll(&stopped, 1, 0) == 0 && !watch->told) {
        snprintf(sentence, sizeof sentence, "watchdog: %s", why.text);
        log_sentence(NULL, LOG_ERR, sentence);
        watch->told = true;
    }
}

static void say(struct watch *watch)
{
    char sentence[KEEPER_SENTENCE], lines[KEEPER_SENTENCE + 16];

    engine_say(watch->engine, sentence);
    if (watch->ready && strcmp(sentence, watch->said) != 0) {
        snprintf(lines, sizeof lines, "STATUS=%s", sentence);
        if (notify_send(&watch->notify, lines)) {
            memcpy(watch->said, sentence, sizeof sentence);
        }
    }
}

static void *run(void *argument)
{
    struct watch *watch = argument;
    struct pollfd stopped = {watch->wake[0], POLLIN, 0};
    sigset_t all;

    prctl(PR_SET_NAME, "watch");
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (int64_t wait = 0; poll(&stopped, 1, (int)wait) <= 0;) {
        look(watch);
        say(watch);
        int64_t left = watch->next - moment_now().steady;
        wait = left < LOOK_EVERY && (!watch->ready || watch->notify.watchdog_ms > 0) ? left
                                                                                     : LOOK_EVERY;
        wait = wait > 0 ? wait : 0;
    }
    return NULL;
}

static void watch_free(struct watch *watch)
{
    notify_close(&watch->notify);
    for (int i = 0; i < 2; i++) {
        if (watch->wake[i] >= 0) {
            close(watch->wake[i]);
        }
    }
    free(watch);
}

enum status watch_start(struct engine *engine, const struct probe *probe, struct notify *notify,
                        struct watch **started, struct why *why)
{
    struct watch *watch = NULL;
    int code;

    *started = NULL;
    if (notify->socket < 0) {
        return STATUS_OK;
    }
    watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory for the watchdog");
    }
    watch->engine = engine;
    watch->probe = *probe;
    watch->notify = *notify;
    notify->socket = -1;
    watch->wake[0] = watch->wake[1] = -1;
    if (pipe(watch->wake) != 0) {
        why_set(why, STATUS_BROKEN, "no pipe for the watchdog: %s", strerror(errno));
        goto out;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(watch->wake[i], F_SETFD, FD_CLOEXEC);
    }
    watch->probe.wake = watch->wake[0];
    code = pthread_create(&watch->thread, NULL, run, watch);
    if (code != 0) {
        why_set(why, STATUS_BROKEN, "the watchdog's thread cannot be made: %s", strerror(code));
        goto out;
    }
    *started = watch;
    return STATUS_OK;
out:
    watch_free(watch);
    return STATUS_BROKEN;
}

void watch_stop(struct watch *watch)
{
    if (watch == NULL) {
        return;
    }
    ssize_t wrote = write(watch->wake[1], "", 1);
    (void)wrote;
    pthread_join(watch->thread, NULL);
    notify_send(&watch->notify, "STOPPING=1\nSTATUS=stopping: sessions come to their end");
    watch_free(watch);
}
