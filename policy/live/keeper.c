/* The thread that keeps the policy fresh: the only one of the daemon that touches SQLite. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#include "core/policy_seal.h"
#include "core/proof.h"
#include "live/moment.h"
#include "live/recorder.h"
#include "live/whole.h"
#include "store/policydb.h"

enum {
    SHORT_SLICE = 100000,  /* ns of the processor at once while a policy is read */
    LOOK_EVERY = 1000,     /* ms between looks at the file, whatever inotify says */
    BUSY_AGAIN = 200,      /* ms until the next try while an editor holds the lock */
    SETTLE = 30,           /* ms a changed file must be quiet before it is read ... */
    SETTLE_MOST = 500,     /* ... but no longer than this */
    KEEP_AGAIN = 2000,     /* ms until the last good policy is tried to be kept again */
    REMIND_EVERY = 300000, /* ms between reminders that the policy in force is an old one */
    LOCK_TRIES = 30,       /* ... 10 ms apart: sekisho status touches the lock for a moment */
    REPORT_ROOM = 4096,
};

/* The last sentence told about one trouble, so that it is told once. */
struct told {
    char text[512];
};

/* What a change of the file shows itself by. */
struct fingerprint {
    bool there;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

/* What status.json tells (sekisho status); times are Unix seconds, 0 = never. */
struct report {
    int64_t started, in_force_since, refused_at;
    uint64_t generation;
    size_t rows, bytes;
    const char *origin;        /* "policy.db", "last-good", "" before the first policy */
    char refusal[256];         /* of the last edit that was refused, also when it is mended */
    char written[REPORT_ROOM]; /* as it stands in the file */
};

struct keeper {
    char *policy_path, *folder, *state_path, *state_folder, *last_good_path, *sequence_path,
        *report_path;
    struct slot *slot;
    struct sequence *sequence;
    struct book *book;
    struct recorder *recorder; /* NULL until the state directory can be used */
    keeper_tell *tell;
    void *context;
    pthread_t thread;
    bool running;
    int wake[2], room[2], watch, watched, state_lock; /* room: the journal has taken a segment */
    struct fingerprint seen;                          /* of the file as it was last read */
    bool pending; /* not read to the end yet: busy, or not there */
    bool refused; /* the file as it is now is not in force */
    int64_t sealed_for, next_expiry;
    int64_t reminded, keep_again; /* steady clock */
    struct policydb *unkept;      /* the policy in force, not yet kept as the last good one */
    struct told trouble, state_trouble, record_trouble, keep_trouble, expiry_trouble;
    struct report report;
    atomic_bool stopping, look;
    atomic_int_fast64_t pulse;
    pthread_mutex_t said_lock;
    char said[KEEPER_SENTENCE]; /* for keeper_say */
};

static void tell(struct keeper *keeper, int priority, const char *sentence)
{
    keeper->tell(keeper->context, priority, sentence);
}

static void tell_once(struct keeper *keeper, struct told *last, int priority, const char *sentence)
{
    if (strcmp(last->text, sentence) != 0) {
        snprintf(last->text, sizeof last->text, "%s", sentence);
        tell(keeper, priority, sentence);
    }
}

static struct fingerprint look_at(const char *path)
{
    struct fingerprint print;
    struct stat seen;

    memset(&print, 0, sizeof print);
    if (lstat(path, &seen) == 0) {
        print.there = true;
        print.device = seen.st_dev;
        print.inode = seen.st_ino;
        print.size = seen.st_size;
        print.modified = seen.st_mtim;
        print.changed = seen.st_ctim;
    }
    return print;
}

static bool same_fingerprint(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->there == b->there && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec && a->changed.tv_sec == b->changed.tv_sec &&
           a->changed.tv_nsec == b->changed.tv_nsec;
}

/* -- the policy ----------------------------------------------------------------------------- */

/* Reads, checks and proves a file; nothing is in force by that yet. */
static enum status prepare(const char *path, int64_t wall, struct policydb **db,
                           struct policy **policy, struct why *why)
{
    struct policy_build *build = NULL;
    enum status status = policydb_open(path, 0, db, why);

    *policy = NULL;
    if (status == STATUS_OK) {
        status = policydb_read(*db, NULL, NULL, &build, why);
    }
    if (status == STATUS_OK) {
        status = policy_seal(build, wall, policy, why);
    }
    if (status == STATUS_OK) {
        status = proof_run(*policy, NULL, NULL, NULL, why);
    }
    if (status != STATUS_OK) {
        policy_free(*policy);
        *policy = NULL;
        policydb_close(*db);
        *db = NULL;
    }
    policy_build_free(build);
    return status;
}

/* Puts it in force; the policy is the slot's or freed afterwards. */
static enum status publish(struct keeper *keeper, struct policy *policy, const char *origin)
{
    char sentence[512];
    uint64_t generation;
    int64_t sealed = policy_sealed_at(policy), next = policy_next_expiry(policy);
    size_t rows = policy_row_count(policy), bytes = policy_size(policy);

    if (slot_replace(keeper->slot, policy, &generation) != STATUS_OK) {
        policy_free(policy);
        keeper->next_expiry = sealed + LOOK_EVERY; /* and again */
        tell(keeper, LOG_ERR, "no memory to put a policy in force; the one before stays");
        return STATUS_BROKEN;
    }
    keeper->sealed_for = sealed;
    keeper->next_expiry = next;
    keeper->report.generation = generation;
    keeper->report.in_force_since = moment_now().wall / 1000;
    keeper->report.rows = rows;
    keeper->report.bytes = bytes;
    snprintf(sentence, sizeof sentence, "policy %" PRIu64 " in force: %zu rows, %s", generation,
             rows, origin);
    tell(keeper, LOG_INFO, sentence);
    return STATUS_OK;
}

static bool in_force(struct keeper *keeper)
{
    struct hold hold = slot_acquire(keeper->slot);
    bool there = hold.policy != NULL;

    slot_release(keeper->slot, hold);
    return there;
}

/* Tells that policy.db is not what is in force, and what is instead. */
static void tell_refused(struct keeper *keeper, const struct why *why)
{
    char sentence[512];

    snprintf(sentence, sizeof sentence, "policy refused: %s; %s", why->text,
             in_force(keeper) ? "the policy before it stays in force"
                              : "no policy is in force: everything that needs one gets 451");
    tell_once(keeper, &keeper->trouble, LOG_ERR, sentence);
    if (!keeper->refused || strcmp(keeper->report.refusal, why->text) != 0) {
        keeper->report.refused_at = moment_now().wall / 1000;
        snprintf(keeper->report.refusal, sizeof keeper->report.refusal, "%s", why->text);
    }
    keeper->refused = true;
}

/* The last good policy, at a start without another. */
static void take_last_good(struct keeper *keeper)
{
    struct policydb *db = NULL;
    struct policy *policy = NULL;
    struct why why;

    if (keeper->last_good_path == NULL || !look_at(keeper->last_good_path).there) {
        return;
    }
    if (prepare(keeper->last_good_path, moment_now().wall, &db, &policy, &why) == STATUS_OK) {
        policydb_close(db);
        if (publish(keeper, policy, "the last good one, kept in the state directory") ==
            STATUS_OK) {
            keeper->report.origin = "last-good";
            tell(keeper, LOG_WARNING,
                 "policy.db is not in force; this is the last good policy from before the restart");
        }
    } else {
        tell(keeper, LOG_ERR, why.text);
    }
}

/* Keeps the policy in force as the last good one. Until that has succeeded there is none: an older
 * one might open at a restart what has been closed since. */
static void keep_last_good(struct keeper *keeper)
{
    struct why why;

    int64_t steady = moment_now().steady;

    if (keeper->unkept == NULL || keeper->state_lock < 0 || steady < keeper->keep_again) {
        return;
    }
    keeper->keep_again = steady + KEEP_AGAIN;
    if (policydb_keep(keeper->unkept, keeper->last_good_path, &why) == STATUS_OK) {
        policydb_close(keeper->unkept);
        keeper->unkept = NULL;
        keeper->keep_trouble.text[0] = '\0';
    } else {
        char sentence[512];
        unlink(keeper->last_good_path);
        snprintf(sentence, sizeof sentence, "the last good policy cannot be kept: %s", why.text);
        tell_once(keeper, &keeper->keep_trouble, LOG_WARNING, sentence);
    }
}

/* Reads policy.db as it is now. */
static void load(struct keeper *keeper)
{
    struct policydb *db = NULL;
    struct policy *policy = NULL;
    struct why why;
    struct fingerprint before = look_at(keeper->policy_path);
    enum status status = prepare(keeper->policy_path, moment_now().wall, &db, &policy, &why);

    keeper->seen = before;
    keeper->pending = status == STATUS_BUSY || status == STATUS_BROKEN;
    if (status != STATUS_OK) {
        if (!keeper->running && !in_force(keeper)) {
            take_last_good(keeper);
        }
        tell_refused(keeper, &why);
        return;
    }
    if (publish(keeper, policy, keeper->policy_path) == STATUS_OK) {
        keeper->refused = false;
        keeper->trouble.text[0] = '\0';
        keeper->report.origin = "policy.db";
        policydb_close(keeper->unkept);
        keeper->unkept = db;
        keeper->keep_again = 0;
        db = NULL;
    } else {
        keeper->pending = true;
    }
    policydb_close(db);
    keep_last_good(keeper);
#ifdef __GLIBC__
    malloc_trim(0); /* the copy of a large database and what was built on the way */
#endif
}

/* Seals the rows in force again when one of them goes out of force, or the wall clock was put back
 * before the time they were sealed for. */
static void expire(struct keeper *keeper)
{
    int64_t wall = moment_now().wall;
    struct policy *policy = NULL;
    struct why why;

    if (wall < keeper->next_expiry && wall >= keeper->sealed_for) {
        return;
    }
    struct hold hold = slot_acquire(keeper->slot);
    if (hold.policy != NULL) {
        enum status status = policy_reseal(hold.policy, wall, &policy, &why);
        if (status == STATUS_OK) {
            status = proof_run(policy, NULL, NULL, NULL, &why);
        }
        if (status != STATUS_OK) {
            tell_once(keeper, &keeper->expiry_trouble, LOG_ERR, why.text);
            policy_free(policy);
            policy = NULL;
            keeper->next_expiry = wall + LOOK_EVERY; /* and again */
            keeper->sealed_for = wall;
        }
    }
    slot_release(keeper->slot, hold);
    if (policy != NULL) {
        publish(keeper, policy, "a row went out of force");
    }
}

/* -- the state directory -------------------------------------------------------------------- */

/* Holds the state directory for this process alone. STATUS_BAD: another has it. */
static enum status hold_state(struct keeper *keeper, struct why *why)
{
    char path[4096];

    if (keeper->state_lock >= 0) {
        return STATUS_OK;
    }
    if (mkdir(keeper->state_folder, 0750) != 0 && errno != EEXIST) {
        return why_set(why, STATUS_BROKEN, "%s: cannot be made: %s", keeper->state_folder,
                       strerror(errno));
    }
    snprintf(path, sizeof path, "%s/lock", keeper->state_folder);
    int lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (lock < 0) {
        return why_set(why, STATUS_BROKEN, "%s: %s", path, strerror(errno));
    }
    struct timespec pause = {0, 10 * 1000000L};
    int tries = LOCK_TRIES;
    while (flock(lock, LOCK_EX | LOCK_NB) != 0 && --tries > 0) {
        nanosleep(&pause, NULL);
    }
    if (tries == 0) {
        close(lock);
        return why_set(why, STATUS_BAD,
                       "%s: another sekisho-milter is running with this state "
                       "directory",
                       path);
    }
    keeper->state_lock = lock;
    return STATUS_OK;
}

static void reserve_numbers(struct keeper *keeper)
{
    struct why why;
    enum status status = hold_state(keeper, &why);

    if (status == STATUS_OK) {
        status = sequence_reserve(keeper->sequence, keeper->sequence_path, moment_now().wall, &why);
        if (status == STATUS_OK && why.text[0] != '\0') {
            tell(keeper, LOG_ERR, why.text);
        }
    }
    if (status != STATUS_OK) {
        tell_once(keeper, &keeper->state_trouble, LOG_ERR, why.text);
    } else if (keeper->state_trouble.text[0] != '\0') {
        keeper->state_trouble.text[0] = '\0';
        tell(keeper, LOG_NOTICE, "the state directory can be written again");
        atomic_store(&keeper->look, true); /* the last good policy can be kept now */
    }
}

static void tell_damage(void *context, const char *sentence)
{
    tell(context, LOG_ERR, sentence);
}

/* Opens the records as soon as the state directory is ours; then keeps room for more. */
static void keep_records(struct keeper *keeper)
{
    struct why why = {""};
    enum status status = STATUS_OK;

    if (keeper->state_lock < 0) {
        return;
    }
    struct hold hold = slot_acquire(keeper->slot);
    if (keeper->recorder == NULL) {
        status = recorder_open(keeper->state_folder, keeper->state_path, keeper->book, hold.policy,
                               moment_now(), tell_damage, keeper, &keeper->recorder, &why);
        if (status == STATUS_OK) {
            recorder_wake(keeper->recorder, keeper->room[1]);
        }
    }
    if (keeper->recorder != NULL) {
        status = recorder_step(keeper->recorder, hold.policy, moment_now(), &why);
    }
    slot_release(keeper->slot, hold);
    if (status != STATUS_OK) {
        tell_once(keeper, &keeper->record_trouble, LOG_ERR, why.text);
    } else if (keeper->record_trouble.text[0] != '\0') {
        keeper->record_trouble.text[0] = '\0';
        tell(keeper, LOG_NOTICE, "decisions can be recorded again");
    }
}

/* The size of the counts' table: by the policy that is in force at the start, whose default stands
 * already. */
static void size_book(struct keeper *keeper)
{
    struct hold hold = slot_acquire(keeper->slot);
    int64_t usual = setting_kind(SETTING_KEYS_MOST)->number;
    int64_t keys = hold.policy != NULL ? policy_number(hold.policy, SETTING_KEYS_MOST) : usual;
    struct why why;

    slot_release(keeper->slot, hold);
    if (keys != usual && book_keys(keeper->book, (size_t)keys, &why) != STATUS_OK) {
        tell(keeper, LOG_ERR, why.text);
    }
}

/* -- the report ----------------------------------------------------------------------------- */

/* The sentence as a JSON string has it. */
static void json_escape(const char *sentence, char *to, size_t room)
{
    size_t used = 0;

    for (; *sentence != '\0' && used + 7 < room; sentence++) {
        unsigned char byte = (unsigned char)*sentence;
        if (byte < 0x20 || byte > 0x7e) {
            used += (size_t)snprintf(to + used, room - used, "\\u%04x", byte);
            continue;
        }
        if (byte == '"' || byte == '\\') {
            to[used++] = '\\';
        }
        to[used++] = (char)byte;
    }
    to[used] = '\0';
}

/* Writes status.json when it would say something else than it does; a failure is tried again, and
 * not told: what keeps it from being written keeps numbers from being reserved as well. */
static void write_report(struct keeper *keeper)
{
    struct report *report = &keeper->report;
    char text[REPORT_ROOM], refusal[1600], trouble[1600];
    struct why why;
    const char *state = keeper->state_trouble.text[0] != '\0'    ? keeper->state_trouble.text
                        : keeper->record_trouble.text[0] != '\0' ? keeper->record_trouble.text
                                                                 : keeper->keep_trouble.text;

    if (keeper->state_lock < 0) {
        return;
    }
    json_escape(report->refusal, refusal, sizeof refusal);
    json_escape(state, trouble, sizeof trouble);
    int size = snprintf(
        text, sizeof text,
        "{\"pid\": %ld, \"started\": %" PRId64 ", \"generation\": %" PRIu64
        ", \"in_force_since\": %" PRId64 ", \"rows\": %zu, \"bytes\": %zu, \"origin\": \"%s\", "
        "\"refused\": %s, \"refused_at\": %" PRId64 ", \"refusal\": \"%s\", "
        "\"state_trouble\": \"%s\", \"numbers_reserved\": %" PRIuFAST64 "}\n",
        (long)getpid(), report->started, report->generation, report->in_force_since, report->rows,
        report->bytes, report->origin, keeper->refused ? "true" : "false", report->refused_at,
        refusal, trouble, atomic_load(&keeper->sequence->limit));
    if (size > 0 && size < (int)sizeof text && strcmp(text, report->written) != 0 &&
        whole_write(keeper->report_path, text, 0640, false, &why) == STATUS_OK) {
        snprintf(report->written, sizeof report->written, "%s", text);
    }
}

/* The same in one sentence. */
static void say(struct keeper *keeper)
{
    const struct report *report = &keeper->report;
    char policy[128], refusal[400] = "", sentence[KEEPER_SENTENCE], shown[KEEPER_SENTENCE * 4];
    const char *state = keeper->state_trouble.text[0] != '\0' ? keeper->state_trouble.text
                                                              : keeper->record_trouble.text;

    if (report->generation == 0) {
        snprintf(policy, sizeof policy,
                 "no policy is in force: everything that needs one gets 451");
    } else {
        snprintf(policy, sizeof policy, "policy %" PRIu64 " in force: %zu rows%s",
                 report->generation, report->rows,
                 strcmp(report->origin, "last-good") == 0 ? ", the last good one" : "");
    }
    if (keeper->refused) {
        snprintf(refusal, sizeof refusal, "; policy.db is refused: %s", report->refusal);
    }
    snprintf(sentence, sizeof sentence, "%s%s%s%.400s", policy, refusal,
             state[0] != '\0' ? "; " : "", state);
    printable_copy(shown, sizeof shown, sentence, strlen(sentence), sizeof sentence);
    pthread_mutex_lock(&keeper->said_lock);
    snprintf(keeper->said, sizeof keeper->said, "%.*s", KEEPER_SENTENCE - 1, shown);
    pthread_mutex_unlock(&keeper->said_lock);
}

/* -- the thread ----------------------------------------------------------------------------- */

static void watch_folder(struct keeper *keeper)
{
    if (keeper->watch >= 0 && keeper->watched < 0) {
        keeper->watched =
            inotify_add_watch(keeper->watch, keeper->folder,
                              IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM |
                                  IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
    }
}

static int until_next(const struct keeper *keeper)
{
    int64_t wall = moment_now().wall;
    int64_t wait = keeper->pending ? BUSY_AGAIN : LOOK_EVERY;

    if (keeper->next_expiry - wall < wait) {
        wait = keeper->next_expiry > wall ? keeper->next_expiry - wall : 0;
    }
    return (int)wait;
}

static void empty_pipe(int file)
{
    char octets[64];

    while (read(file, octets, sizeof octets) > 0) {
    }
}

/* Until there is something to do; only the journal has its room made meanwhile, since it cannot
 * wait, and all else would be done more often than is worth it. */
static void await(struct keeper *keeper)
{
    int64_t due = moment_now().steady + until_next(keeper);
    bool over = false;

    while (!over) {
        struct pollfd fds[] = {
            {keeper->wake[0], POLLIN, 0}, {keeper->watch, POLLIN, 0}, {keeper->room[0], POLLIN, 0}};
        int64_t left = due - moment_now().steady;
        int ready = poll(fds, 3, left > 0 ? (int)left : 0);
        over = ready <= 0 || fds[0].revents != 0 || fds[1].revents != 0;
        if (ready > 0 && fds[2].revents != 0) {
            empty_pipe(keeper->room[0]);
            recorder_room(keeper->recorder);
        }
    }
}

static void drain(struct keeper *keeper)
{
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t size;

    empty_pipe(keeper->wake[0]);
    while (keeper->watch >= 0 && (size = read(keeper->watch, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + size;) {
            struct inotify_event event;
            memcpy(&event, at, sizeof event);
            if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF)) != 0) {
                if ((event.mask & IN_MOVE_SELF) != 0) {
                    inotify_rm_watch(keeper->watch, keeper->watched);
                }
                keeper->watched = -1;
            }
            at += sizeof event + event.len;
        }
    }
}

/* Waits until the file has been quiet for a moment: an editor in the middle of its work, or a cp,
 * need not be read. */
static void settle(struct keeper *keeper)
{
    struct fingerprint last = look_at(keeper->policy_path), now;
    struct timespec pause = {0, SETTLE * 1000000L};

    for (int waited = 0; waited < SETTLE_MOST && !atomic_load(&keeper->stopping);
         waited += SETTLE) {
        nanosleep(&pause, NULL);
        now = look_at(keeper->policy_path);
        if (same_fingerprint(&now, &last)) {
            return;
        }
        last = now;
    }
}

static void remind(struct keeper *keeper)
{
    int64_t steady = moment_now().steady;

    if (!keeper->refused) {
        keeper->reminded = steady;
    } else if (steady - keeper->reminded >= REMIND_EVERY) {
        keeper->reminded = steady;
        tell(keeper, LOG_ERR, keeper->trouble.text);
    }
}

static void beat(struct keeper *keeper)
{
    atomic_store(&keeper->pulse, moment_now().steady);
}

/* Short slices for this thread, or the usual ones: who reads a million rows goes on for
 * milliseconds, and whoever has mail to answer and comes to the same processor waits behind it. It
 * loses no share of the processor. Not for all that the keeper does: beside a thread of short
 * slices all others are interrupted sooner, and one of them may hold the book's lock.
 * sched_setattr(2); Linux takes sched_runtime as the slice since 6.12 and ignores it before, and
 * where the call is forbidden nothing is lost but that. */
static void take_slices(uint64_t nanoseconds)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t slice; /* sched_runtime; 0 = the usual */
        uint64_t deadline, period;
    } attributes = {.size = sizeof attributes, .policy = SCHED_OTHER, .slice = nanoseconds};

    if (sched_getscheduler(0) == SCHED_OTHER) {
        errno = 0;
        attributes.nice = getpriority(PRIO_PROCESS, 0); /* as it is, for this thread */
        if (errno == 0) {
            syscall(SYS_sched_setattr, 0, &attributes, 0);
        }
    }
}

static void *keep(void *argument)
{
    struct keeper *keeper = argument;

    prctl(PR_SET_NAME, "keeper");
    while (!atomic_load(&keeper->stopping)) {
        watch_folder(keeper);
        await(keeper);
        drain(keeper);
        if (atomic_load(&keeper->stopping)) {
            break;
        }
        beat(keeper);
        expire(keeper);
        struct fingerprint now = look_at(keeper->policy_path);
        bool changed = !same_fingerprint(&now, &keeper->seen);
        if (changed) {
            settle(keeper);
        }
        if (atomic_exchange(&keeper->look, false) || changed || (keeper->pending && now.there)) {
            take_slices(SHORT_SLICE);
            load(keeper);
            take_slices(0);
            beat(keeper); /* that may have taken seconds */
        }
        slot_sweep(keeper->slot);
        reserve_numbers(keeper);
        keep_records(keeper);
        keep_last_good(keeper);
        write_report(keeper);
        say(keeper);
        remind(keeper);
    }
    return NULL;
}

static char *join(const char *folder, const char *name)
{
    size_t room = strlen(folder) + strlen(name) + 2;
    char *path = malloc(room);

    if (path != NULL) {
        snprintf(path, room, "%s/%s", folder, name);
    }
    return path;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return strdup(".");
    }
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Neither end blocks. */
static bool make_pipe(int ends[2])
{
    if (pipe(ends) != 0) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    return true;
}

static void keeper_free(struct keeper *keeper)
{
    int files[] = {keeper->wake[0], keeper->wake[1], keeper->room[0],
                   keeper->room[1], keeper->watch,   keeper->state_lock};

    recorder_close(keeper->recorder); /* first: the journal's writer writes into room */
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (files[i] >= 0) {
            close(files[i]);
        }
    }
    policydb_close(keeper->unkept);
    free(keeper->policy_path);
    free(keeper->folder);
    free(keeper->state_path);
    free(keeper->state_folder);
    free(keeper->last_good_path);
    free(keeper->sequence_path);
    free(keeper->report_path);
    pthread_mutex_destroy(&keeper->said_lock);
    free(keeper);
}

enum status keeper_start(const char *policy_path, const char *state_path, struct slot *slot,
                         struct sequence *sequence, struct book *book, keeper_tell *tell_function,
                         void *context, struct keeper **started, struct why *why)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    enum status status = STATUS_BROKEN;

    *started = NULL;
    if (keeper == NULL || pthread_mutex_init(&keeper->said_lock, NULL) != 0) {
        free(keeper);
        return why_set(why, status, "no memory for the keeper");
    }
    keeper->slot = slot;
    keeper->sequence = sequence;
    keeper->book = book;
    keeper->tell = tell_function;
    keeper->context = context;
    keeper->next_expiry = INT64_MAX;
    keeper->report.started = moment_now().wall / 1000;
    keeper->report.origin = "";
    keeper->wake[0] = keeper->wake[1] = keeper->room[0] = keeper->room[1] = -1;
    keeper->watched = keeper->state_lock = -1;
    keeper->watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC); /* without it: once a second */
    keeper->policy_path = strdup(policy_path);
    keeper->folder = folder_of(policy_path);
    keeper->state_path = strdup(state_path);
    keeper->state_folder = folder_of(state_path);
    if (keeper->state_folder != NULL) {
        keeper->last_good_path = join(keeper->state_folder, "last-good.db");
        keeper->sequence_path = join(keeper->state_folder, "sequence");
        keeper->report_path = join(keeper->state_folder, "status.json");
    }
    if (keeper->policy_path == NULL || keeper->state_path == NULL || keeper->folder == NULL ||
        keeper->last_good_path == NULL || keeper->sequence_path == NULL ||
        keeper->report_path == NULL) {
        why_set(why, status, "no memory for the keeper");
        goto out;
    }
    if (!make_pipe(keeper->wake) || !make_pipe(keeper->room)) {
        why_set(why, status, "no pipe for the keeper: %s", strerror(errno));
        goto out;
    }
    status = hold_state(keeper, why);
    if (status == STATUS_BAD) {
        goto out;
    }
    watch_folder(keeper);
    if (keeper->state_lock >= 0) {
        unlink(keeper->report_path); /* what a process before this one wrote is not so any more */
    }
    reserve_numbers(keeper);
    load(keeper);
    size_book(keeper);
    keep_records(keeper);
    write_report(keeper);
    say(keeper);
    beat(keeper);
    keeper->reminded = moment_now().steady;
    keeper->running = true; /* before its thread reads it */
    int code = pthread_create(&keeper->thread, NULL, keep, keeper);
    if (code != 0) {
        keeper->running = false;
        status =
            why_set(why, STATUS_BROKEN, "the keeper's thread cannot be made: %s", strerror(code));
        goto out;
    }
    *started = keeper;
    keeper = NULL;
    why->text[0] = '\0';
    status = STATUS_OK;
out:
    if (keeper != NULL) {
        keeper_free(keeper);
    }
    return status;
}

void keeper_look(struct keeper *keeper)
{
    atomic_store(&keeper->look, true);
    ssize_t wrote = write(keeper->wake[1], "", 1);
    (void)wrote; /* a full pipe wakes it as well */
}

int64_t keeper_pulse(const struct keeper *keeper)
{
    return atomic_load(&keeper->pulse);
}

void keeper_say(struct keeper *keeper, char sentence[KEEPER_SENTENCE])
{
    pthread_mutex_lock(&keeper->said_lock);
    memcpy(sentence, keeper->said, KEEPER_SENTENCE);
    pthread_mutex_unlock(&keeper->said_lock);
}

void keeper_stop(struct keeper *keeper)
{
    if (keeper == NULL) {
        return;
    }
    atomic_store(&keeper->stopping, true);
    keeper_look(keeper);
    if (keeper->running) {
        pthread_join(keeper->thread, NULL);
    }
    keeper_free(keeper);
}
