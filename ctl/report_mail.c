/* The report as a message, handed to the local sendmail. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

enum { SENDMAIL_SECONDS = 300 };

bool report_address_good(const char *address)
{
    size_t size = strlen(address);
    const char *at = strchr(address, '@');

    if (size == 0 || size > 320 || address[0] == '-' || address[0] == '@' ||
        address[size - 1] == '@' || (at != NULL && strchr(at + 1, '@') != NULL)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char sign = (unsigned char)address[i];
        if (sign <= 0x20 || sign >= 0x7f || strchr("\"(),:;<>[]\\`|", sign) != NULL) {
            return false;
        }
    }
    return true;
}

/* RFC 5322 3.3; in no language but English. */
static void put_date(FILE *to, int64_t wall)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(wall / 1000);
    struct tm parts;

    if (gmtime_r(&seconds, &parts) != NULL) {
        fprintf(to, "Date: %s, %d %s %04d %02d:%02d:%02d +0000\n", days[parts.tm_wday],
                parts.tm_mday, months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
    }
}

/* A domain for From and Message-ID: what does not look like one is not written there. */
static const char *domain_of(const struct report *report)
{
    static const char signs[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    const char *host = report->host;
    size_t size = strlen(host);

    return size > 0 && strspn(host, signs) == size && host[0] != '.' && host[size - 1] != '.' &&
                   strstr(host, "..") == NULL
               ? host
               : "localhost";
}

/* The whole message; all of it is ASCII. Nothing in it can begin a line with the boundary, which
 * nobody could know beforehand and which has signs that page.c never begins a line with. */
static void put_message(const struct report *report, const char *address, FILE *to)
{
    char headline[200], boundary[64];
    const char *domain = domain_of(report);

    report_headline(report, headline, sizeof headline);
    snprintf(boundary, sizeof boundary, "=_sekisho_%" PRId64 "_%ld", report->now, (long)getpid());
    put_date(to, report->now);
    fprintf(to, "From: sekisho <sekisho@%s>\n", domain);
    fprintf(to, "To: %s\n", address);
    fprintf(to, "Subject: sekisho at %.60s:\n %s\n", domain, headline);
    fprintf(to, "Message-ID: <report.%" PRId64 ".%ld@%s>\n", report->now, (long)getpid(), domain);
    /* RFC 3834 5; with the null sender, no program answers it. */
    fputs("Auto-Submitted: auto-generated\nMIME-Version: 1.0\n", to);
    fprintf(to, "Content-Type: multipart/alternative; boundary=\"%s\"\n\n", boundary);
    fprintf(to,
            "--%s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n"
            "Content-Disposition: inline\n\n",
            boundary);
    report_page(report, to, false);
    fprintf(to,
            "\n--%s\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 7bit\n"
            "Content-Disposition: inline\n\n",
            boundary);
    report_page(report, to, true);
    fprintf(to, "\n--%s--\n", boundary);
}

/* Of the child: no shell, no more descriptors than the message and what it may say. */
static void run_sendmail(const char *sendmail, const char *address, int message)
{
    char program[4096], to[330];
    char ignore_dots[] = "-i", sender[] = "-f", nobody[] = "<>", end[] = "--";
    char *const arguments[] = {program, ignore_dots, sender, nobody, end, to, NULL};

    snprintf(program, sizeof program, "%s", sendmail);
    snprintf(to, sizeof to, "%s", address);
    signal(SIGPIPE, SIG_DFL);
    alarm(SENDMAIL_SECONDS); /* stays over exec: it shall not be waited for without end */
    if (dup2(message, STDIN_FILENO) >= 0) {
        execv(sendmail, arguments);
    }
    _exit(errno == ENOENT ? 127 : 126);
}

static enum status write_all(int file, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno != EINTR) {
            return STATUS_BROKEN;
        }
        if (written > 0) {
            bytes += written;
            size -= (size_t)written;
        }
    }
    return STATUS_OK;
}

static enum status wait_for(pid_t child, const char *sendmail, struct why *why)
{
    int ended = 0;
    pid_t got;

    do {
        got = waitpid(child, &ended, 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return why_set(why, STATUS_BROKEN, "%s: %s", sendmail, strerror(errno));
    }
    if (!WIFEXITED(ended)) {
        return why_set(why, STATUS_BROKEN, "%s: ended by signal %d", sendmail,
                       WIFSIGNALED(ended) ? WTERMSIG(ended) : 0);
    }
    if (WEXITSTATUS(ended) == 127 || WEXITSTATUS(ended) == 126) {
        return why_set(why, STATUS_BROKEN, "%s: cannot be run (exit status %d)", sendmail,
                       WEXITSTATUS(ended));
    }
    return WEXITSTATUS(ended) == 0
               ? STATUS_OK
               : why_set(why, STATUS_BROKEN, "%s: has failed with exit status %d (sysexits.h)",
                         sendmail, WEXITSTATUS(ended));
}

/* Starts it and gives it the message. */
static enum status hand_over(const char *sendmail, const char *address, const char *message,
                             size_t size, struct why *why)
{
    int ends[2];

    if (pipe(ends) != 0) {
        return why_set(why, STATUS_BROKEN, "%s: %s", sendmail, strerror(errno));
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run_sendmail(sendmail, address, ends[0]);
    }
    enum status status = child < 0 ? why_set(why, STATUS_BROKEN, "%s: cannot be started: %s",
                                             sendmail, strerror(errno))
                                   : STATUS_OK;
    close(ends[0]);
    if (status == STATUS_OK) {
        struct sigaction ignore, before;
        memset(&ignore, 0, sizeof ignore);
        ignore.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &ignore, &before);
        status = write_all(ends[1], message, size);
        sigaction(SIGPIPE, &before, NULL);
        /* an end that comes early must not look like that of the message */
        if (status != STATUS_OK) {
            kill(child, SIGTERM);
        }
    }
    close(ends[1]);
    if (child > 0) {
        struct why ended = {""};
        enum status failed = wait_for(child, sendmail, &ended);
        if (failed != STATUS_OK) {
            status = why_set(why, failed, "%s", ended.text);
        } else if (status != STATUS_OK) {
            why_set(why, status, "%s: did not read the whole message", sendmail);
        }
    }
    return status;
}

enum status report_mail(const struct report *report, const char *sendmail, const char *address,
                        struct why *why)
{
    char *message = NULL;
    size_t size = 0;
    enum status status = STATUS_BROKEN;
    FILE *to = open_memstream(&message, &size);

    if (to == NULL) {
        return why_set(why, status, "no memory for a message");
    }
    put_message(report, address, to);
    bool good = ferror(to) == 0;
    if (fclose(to) != 0 || !good) {
        why_set(why, status, "no memory for a message");
        goto out;
    }
    status = hand_over(sendmail, address, message, size, why);
out:
    free(message);
    return status;
}
