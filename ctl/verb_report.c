/* sekisho report: what happened, for a person: text, a page of HTML, or a mail. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

#define USAGE                                                                                      \
    "report takes [--since T] [--html FILE | --mail [ADDR] [--alarm FILE] [--sendmail PROGRAM]]"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS INT64_C(86400000)
#define SPAN_MOST (366 * DAY_MS)

struct words {
    int64_t since;
    const char *html, *alarm, *sendmail;
    const char *mail; /* "": report_address */
};

/* -- a file that is there whole ---------------------------------------------------------------- */

/* Writes beside it and renames; what stands there already keeps its mode and, if that
 * may be given, its owner. */
static enum status write_file(const char *path, mode_t mode,
                              bool (*put)(const void *context, FILE *to), const void *context,
                              struct why *why)
{
    char beside[CTL_PATH];
    struct stat seen;
    enum status status = STATUS_BROKEN;
    FILE *to = NULL;
    int file = -1;
    const bool there = lstat(path, &seen) == 0;

    if (there) {
        if (!S_ISREG(seen.st_mode)) {
            return why_set(why, STATUS_BAD, "%s: is there and no file", path);
        }
        mode = seen.st_mode & 0777;
    }
    if (snprintf(beside, sizeof beside, "%s.new.%ld", path, (long)getpid()) >= (int)sizeof beside) {
        return why_set(why, STATUS_BAD, "%s: the name is too long", path);
    }
    file = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    to = file >= 0 ? fdopen(file, "w") : NULL;
    if (to == NULL) {
        why_set(why, status, "%s: %s", beside, strerror(errno));
        goto out;
    }
    file = -1;
    if (there && fchown(fileno(to), seen.st_uid, seen.st_gid) != 0) {
        mode &= 0707; /* the group is another one */
    }
    bool good =
        put(context, to) && fflush(to) == 0 && ferror(to) == 0 && fchmod(fileno(to), mode) == 0;
    int error = errno;
    if (fclose(to) != 0 || !good) {
        why_set(why, status, "%s: %s", beside, strerror(good ? errno : error));
        to = NULL;
        unlink(beside);
        goto out;
    }
    to = NULL;
    if (rename(beside, path) != 0) {
        why_set(why, status, "%s: %s", path, strerror(errno));
        unlink(beside);
        goto out;
    }
    status = STATUS_OK;
out:
    if (file >= 0) {
        close(file);
        unlink(beside);
    }
    return status;
}

static bool put_page(const void *context, FILE *to)
{
    report_page(context, to, true);
    return true;
}

/* -- the alarm: what was told last ----------------------------------------------------------- */

struct told {
    bool known;         /* false: never told anything */
    int64_t note;       /* id of the last note that was told or needs no word */
    int64_t refused_at; /* of the refusal that was told, Unix ms */
    int64_t clients_at; /* when clients were told of, */
    int64_t state_at;   /* trouble with the state, */
    int64_t no_policy_at;
    bool state, no_policy; /* they were so when somebody looked last */
};

static bool put_told(const void *context, FILE *to)
{
    const struct told *told = context;
    json_t *root = json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "note", (json_int_t)told->note,
                             "refused_at", (json_int_t)told->refused_at, "clients_at",
                             (json_int_t)told->clients_at, "state_at", (json_int_t)told->state_at,
                             "no_policy_at", (json_int_t)told->no_policy_at, "state", told->state,
                             "no_policy", told->no_policy);
    bool good = root != NULL && json_dumpf(root, to, JSON_INDENT(1)) == 0 && fputc('\n', to) != EOF;

    json_decref(root);
    return good;
}

/* A file that is not there, or is no such file, has told nothing. */
static void read_told(const char *path, struct told *told)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    json_int_t note = 0, refused = 0, clients = 0, state = 0, no_policy = 0;
    int state_now = 0, no_policy_now = 0;

    memset(told, 0, sizeof *told);
    if (root != NULL &&
        json_unpack(root, "{s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "note", &note, "refused_at",
                    &refused, "clients_at", &clients, "state_at", &state, "no_policy_at",
                    &no_policy, "state", &state_now, "no_policy", &no_policy_now) == 0) {
        *told = (struct told){true,  note,      refused,        clients,
                              state, no_policy, state_now != 0, no_policy_now != 0};
    }
    json_decref(root);
}

static bool same_told(const struct told *a, const struct told *b)
{
    return a->note == b->note && a->refused_at == b->refused_at && a->clients_at == b->clients_at &&
           a->state_at == b->state_at && a->no_policy_at == b->no_policy_at &&
           a->state == b->state && a->no_policy == b->no_policy;
}

struct look {
    struct report_news *news;
    bool logins;
};

static bool take_note(void *context, const struct figures_note *note)
{
    struct look *look = context;
    struct report_news *news = look->news;

    if (strcmp(note->kind, "block") != 0) {
        return true;
    }
    if (news->blocks < REPORT_NEWS) {
        snprintf(news->block[news->blocks].subject, sizeof news->block[0].subject, "%s",
                 note->subject);
        news->block[news->blocks].number = note->number;
        news->block[news->blocks].at = note->at;
    }
    news->blocks++;
    look->logins |= strncmp(note->subject, "client:", 7) != 0;
    return true;
}

/* An hour between two of the same, unless it has been well for as long. */
static bool rings(bool is, bool was, int64_t last, int64_t now)
{
    return is && !was && (now < last || now - last >= HOUR_MS);
}

/* What is new: at once what concerns our own accounts, machines or policy; blocks of strangers once
 * an hour at the most. next is what is to be remembered after it was told. */
static enum status look_for_news(const struct ctl *ctl, const struct told *told,
                                 struct report_news *news, struct told *next, bool *ring,
                                 struct why *why)
{
    struct report *standing = calloc(1, sizeof *standing);
    struct figures *figures = NULL;
    struct look look = {news, false};
    const int64_t now = ctl->now.wall;
    int64_t last = 0;

    memset(news, 0, sizeof *news);
    *next = *told;
    *ring = false;
    if (standing == NULL) {
        return why_set(why, STATUS_BROKEN, "no memory");
    }
    report_gather_standing(ctl, standing);
    const bool no_policy = standing->told && standing->generation == 0;
    bool state = standing->told && standing->state_trouble[0] != '\0';
    news->refused = standing->told && standing->refused && standing->refused_at != told->refused_at;
    next->refused_at = standing->told ? standing->refused_at : told->refused_at;
    free(standing);

    /* Notes that were never told: of the last hour, or all would be told after each boot. */
    enum status status = figures_open(ctl->state, CTL_WAIT_MS, &figures, why);
    if (status == STATUS_OK) {
        status = figures_last_note(figures, &last, why);
    }
    if (status == STATUS_OK) { /* another file begins with 1 again */
        const int64_t above = last >= told->note ? told->note : 0;
        status = figures_notes(figures, above, now - (told->known ? DAY_MS : HOUR_MS), take_note,
                               &look, why);
    }
    figures_close(figures);
    state |= status != STATUS_OK && status != STATUS_BUSY; /* BUSY: it is just being made */
    news->state = rings(state, told->state, told->state_at, now);
    news->no_policy = rings(no_policy, told->no_policy, told->no_policy_at, now);
    next->state = state && (told->state || news->state);
    next->no_policy = no_policy && (told->no_policy || news->no_policy);
    next->state_at = news->state ? now : told->state_at;
    next->no_policy_at = news->no_policy ? now : told->no_policy_at;

    const bool waits = now >= told->clients_at && now - told->clients_at < HOUR_MS;
    *ring = news->refused || news->state || news->no_policy || look.logins ||
            (news->blocks > 0 && !waits);
    if (status == STATUS_OK && (*ring || news->blocks == 0)) {
        next->note = last;
        next->clients_at = news->blocks > 0 ? now : told->clients_at;
    }
    next->known = true;
    return STATUS_OK;
}

/* -- where it goes -------------------------------------------------------------------------- */

/* Whom the policy names; "" = nobody. */
static const char *address_of(const struct report *report, const struct words *words)
{
    return words->mail[0] != '\0' ? words->mail
           : report->policy.policy != NULL
               ? policy_text(report->policy.policy, SETTING_REPORT_ADDRESS)
               : "";
}

/* settled: the administrator was told, or wants not to be. */
static int mail(const struct ctl *ctl, const struct words *words, const struct report *report,
                bool *settled)
{
    const char *address = address_of(report, words);
    struct why why = {""};

    *settled = false;
    if (address[0] == '\0' && report->policy.policy == NULL) {
        return ctl_fail(ctl, CTL_INVALID, "nobody is named, and report_address cannot be read: %s",
                        report->policy_why);
    }
    if (address[0] == '\0') {
        *settled = true;
        if (ctl->json) {
            ctl_print(json_pack("{s:b, s:n}", "ok", 1, "mailed"));
        } else {
            printf("nothing was sent: the setting report_address is empty\n");
        }
        return CTL_YES;
    }
    if (!report_address_good(address)) {
        return ctl_fail(ctl, CTL_USAGE, "%s: write one address, user@example.jp", address);
    }
    if (report_mail(report, words->sendmail, address, &why) != STATUS_OK) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    *settled = true;
    if (ctl->json) {
        ctl_print(json_pack("{s:b, s:s}", "ok", 1, "mailed", address));
    } else {
        printf("sent to %s\n", address);
    }
    return report_exit(report);
}

static int page(const struct ctl *ctl, const struct words *words, const struct report *report)
{
    struct why why = {""};

    if (write_file(words->html, 0640, put_page, report, &why) != STATUS_OK) {
        return ctl_fail(ctl, CTL_USAGE, "%s", why.text);
    }
    if (ctl->json) {
        ctl_print(report_json(report));
    }
    return report_exit(report);
}

/* -- the words ------------------------------------------------------------------------------ */

static int read_words(const struct ctl *ctl, int argc, char **argv, struct words *words)
{
    static const struct option known[] = {
        {"since", required_argument, NULL, 's'},    {"html", required_argument, NULL, 'h'},
        {"mail", required_argument, NULL, 'm'},     {"alarm", required_argument, NULL, 'a'},
        {"sendmail", required_argument, NULL, 'S'}, {NULL, 0, NULL, 0}};
    int letter;

    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        switch (letter) {
        case 's':
            if (!ctl_since_read(ctl, optarg, &words->since)) {
                return ctl_fail(ctl, CTL_USAGE,
                                "--since %s: write 90s, 30m, 24h, 7d or UTC, 2026-11-24 03:00:00",
                                optarg);
            }
            break;
        case 'h':
            words->html = optarg;
            break;
        case 'm':
            words->mail = optarg;
            break;
        case 'a':
            words->alarm = optarg;
            break;
        case 'S':
            words->sendmail = optarg;
            break;
        default:
            return ctl_fail(ctl, CTL_USAGE, "%s %s; %s", argv[optind - 1],
                            letter == ':' ? "needs a value" : "is not an option of report", USAGE);
        }
    }
    if (optind < argc) {
        return ctl_fail(ctl, CTL_USAGE, "%s is not an option of report; %s", argv[optind], USAGE);
    }
    if (words->html != NULL && words->mail != NULL) {
        return ctl_fail(ctl, CTL_USAGE, "--html and --mail: say one; " USAGE);
    }
    if (words->mail == NULL && (words->alarm != NULL || words->sendmail != NULL)) {
        return ctl_fail(ctl, CTL_USAGE, "--alarm and --sendmail go with --mail; " USAGE);
    }
    if (words->mail != NULL && words->mail[0] != '\0' && !report_address_good(words->mail)) {
        return ctl_fail(ctl, CTL_USAGE, "--mail %s: write one address, user@example.jp",
                        words->mail);
    }
    if (words->sendmail != NULL && words->sendmail[0] != '/') {
        return ctl_fail(ctl, CTL_USAGE, "--sendmail %s: write the path from / on", words->sendmail);
    }
    if (words->since >= ctl->now.wall || words->since < ctl->now.wall - SPAN_MOST) {
        return ctl_fail(ctl, CTL_USAGE, "--since: at most 366 days ago, and not in the future");
    }
    return CTL_YES;
}

/* --mail without an address is --mail "". The new words are in the same order, argc + 1 at most. */
static int name_nobody(int argc, char **argv, char **to)
{
    static char nobody[] = "";
    int count = 0;

    for (int i = 0; i < argc; i++) {
        to[count++] = argv[i];
        if (i > 0 && strcmp(argv[i], "--mail") == 0 &&
            (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0)) {
            to[count++] = nobody;
        }
    }
    to[count] = NULL;
    return count;
}

static int run(const struct ctl *ctl, const struct words *words, struct report *report)
{
    struct told told, next;
    struct why why = {""};
    bool ring = true, settled = false;

    if (words->alarm != NULL) {
        read_told(words->alarm, &told);
        if (look_for_news(ctl, &told, &report->news, &next, &ring, &why) != STATUS_OK) {
            return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
        }
    }
    /* What cannot be remembered would be told every minute: rather not at all, and this fails. */
    if (words->alarm != NULL && (!told.known || !same_told(&told, &next)) &&
        write_file(words->alarm, 0640, put_told, ring ? &told : &next, &why) != STATUS_OK) {
        return ctl_fail(ctl, CTL_USAGE, "%s", why.text);
    }
    if (!ring) {
        return CTL_YES;
    }
    if (report_gather(ctl, words->since, report, &why) != STATUS_OK) {
        return ctl_fail(ctl, CTL_UNREACHABLE, "%s", why.text);
    }
    if (words->html != NULL) {
        return page(ctl, words, report);
    }
    if (words->mail == NULL) {
        if (ctl->json) {
            ctl_print(report_json(report));
        } else {
            report_page(report, stdout, false);
        }
        return report_exit(report);
    }
    int code = mail(ctl, words, report, &settled);
    if (words->alarm != NULL && settled &&
        write_file(words->alarm, 0640, put_told, &next, &why) != STATUS_OK) {
        return ctl_fail(ctl, CTL_USAGE, "%s", why.text);
    }
    return code;
}

int verb_report(const struct ctl *ctl, int argc, char **argv)
{
    struct words words = {.since = ctl->now.wall - DAY_MS};
    char **with = calloc(2 * (size_t)argc + 1, sizeof *with);
    struct report *report = calloc(1, sizeof *report);
    int code;

    if (with == NULL || report == NULL) {
        code = ctl_fail(ctl, CTL_UNREACHABLE, "no memory");
    } else {
        code = read_words(ctl, name_nobody(argc, argv, with), with, &words);
    }
    if (code == CTL_YES) {
        words.sendmail = words.sendmail != NULL ? words.sendmail : "/usr/sbin/sendmail";
        code = run(ctl, &words, report);
    }
    report_free(report);
    free(with);
    return code;
}
