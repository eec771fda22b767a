/* The least that libmilter can cost: a filter that says yes, with or without answers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <libmilter/mfapi.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* The same as in milter/callbacks.c: a change there is a change here. */
#define NO_ANSWERS (SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_DATA)
#define NOT_WANTED (SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOBODY | SMFIP_NOUNKNOWN)

static sfsistat silent = SMFIS_CONTINUE; /* what a stage without an answer returns */

static sfsistat on_negotiate(SMFICTX *context, unsigned long actions, unsigned long steps,
                             unsigned long unused2, unsigned long unused3,
                             unsigned long *wanted_actions, unsigned long *wanted_steps,
                             unsigned long *wanted2, unsigned long *wanted3)
{
    (void)context;
    (void)actions;
    (void)unused2;
    (void)unused3;
    *wanted_actions = 0;
    *wanted_steps = steps & (NO_ANSWERS | NOT_WANTED | SMFIP_RCPT_REJ);
    *wanted2 = *wanted3 = 0;
    return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *context, char *name, struct sockaddr *address)
{
    (void)context;
    (void)name;
    (void)address;
    return silent;
}

static sfsistat on_helo(SMFICTX *context, char *helo)
{
    (void)context;
    (void)helo;
    return silent;
}

static sfsistat on_mail(SMFICTX *context, char **argv)
{
    (void)context;
    (void)argv;
    return silent;
}

static sfsistat on_rcpt(SMFICTX *context, char **argv)
{
    (void)context;
    (void)argv;
    return SMFIS_CONTINUE;
}

static sfsistat on_data(SMFICTX *context)
{
    (void)context;
    return silent;
}

static sfsistat on_header(SMFICTX *context, char *name, char *value)
{
    (void)context;
    (void)name;
    (void)value;
    return SMFIS_CONTINUE;
}

static sfsistat on_body(SMFICTX *context, unsigned char *part, size_t size)
{
    (void)context;
    (void)part;
    (void)size;
    return SMFIS_CONTINUE;
}

static sfsistat on_stage(SMFICTX *context)
{
    (void)context;
    return SMFIS_CONTINUE;
}

static void *serve(void *nothing)
{
    (void)nothing;
    exit(smfi_main() == MI_SUCCESS ? 0 : 1);
}

/* libmilter's own end takes five seconds, and with interpose.c there is none: its thread waits for
 * signals in the sigwait() that never returns. So the main thread, to which a signal goes first,
 * waits by a call that nobody defines anew; there is nothing to bring to an end but the socket. */
static int serve_until_signal(const char *path)
{
    pthread_t thread;
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (pthread_create(&thread, NULL, serve, NULL) != 0) {
        return 1;
    }
    while (sigwaitinfo(&signals, NULL) < 0) {
    }
    unlink(path);
    _exit(0);
}

int main(int argc, char **argv)
{
    static const char unix_socket[] = "unix:";
    static char name[] = "null_filter";
    struct smfiDesc description = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_connect = on_connect,
        .xxfi_helo = on_helo,
        .xxfi_envfrom = on_mail,
        .xxfi_envrcpt = on_rcpt,
        .xxfi_eom = on_stage,
        .xxfi_abort = on_stage,
        .xxfi_close = on_stage,
        .xxfi_data = on_data,
    };
    bool answers;
    unsigned int major, minor, patch;

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        smfi_version(&major, &minor, &patch);
        printf("%u.%u.%u\n", major, minor, patch);
        return 0;
    }
    if (argc != 3 || strncmp(argv[2], unix_socket, strlen(unix_socket)) != 0 ||
        ((answers = strcmp(argv[1], "--answers") == 0) == false &&
         strcmp(argv[1], "--no-answers") != 0)) {
        fprintf(stderr, "usage: null_filter --answers|--no-answers unix:PATH\n"
                        "       null_filter --version\n");
        return 2;
    }
    if (answers) {
        description.xxfi_header = on_header;
        description.xxfi_eoh = on_stage;
        description.xxfi_body = on_body;
    } else {
        description.xxfi_negotiate = on_negotiate;
        silent = SMFIS_NOREPLY;
    }
    if (smfi_setconn(argv[2]) != MI_SUCCESS || smfi_setbacklog(BACKLOG) != MI_SUCCESS ||
        smfi_register(description) != MI_SUCCESS || smfi_opensocket(true) != MI_SUCCESS) {
        fprintf(stderr, "null_filter: cannot listen at %s\n", argv[2]);
        return 1;
    }
    return serve_until_signal(argv[2] + strlen(unix_socket));
}
