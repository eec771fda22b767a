/* libmilter's callbacks, translated for session, engine and log; nothing is decided here. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "callbacks.h"

#include <libmilter/mfapi.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>

#include "core/reply.h"
#include "interpose.h"
#include "live/moment.h"
#include "log.h"
#include "session.h"

static struct engine *_Atomic the_engine;
static atomic_uint in_flight; /* callbacks that are using the engine */
static atomic_bool stopping;
static atomic_uint sessions;        /* that have said where their client comes from */
static char probe_name[PROBE_NAME]; /* "" = there are no probes; set before the first session */

enum { NUDGES = 64, TRIM_EVERY = 1024, NEWCOMER_MS = 100 };

/* All judgement is made at RCPT; these stages need no answer. libmilter imitates the flags for an
 * MTA that lacks them, so a stage that was asked for never answers. */
#define NO_ANSWERS (SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_DATA)
#define NOT_WANTED (SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOBODY | SMFIP_NOUNKNOWN)

/* The engine for the length of one callback, or NULL when the daemon is ending: libmilter does not
 * wait for its workers. leave() must follow in any case. */
static struct engine *enter(void)
{
    atomic_fetch_add(&in_flight, 1);
    return atomic_load(&the_engine);
}

static void leave(void)
{
    atomic_fetch_sub(&in_flight, 1);
}

/* The session, made on the way if connect never came or had no memory: its recipients get 451. */
static struct session *session_of(SMFICTX *context)
{
    struct session *session = smfi_getpriv(context);
    bool made = session == NULL;

    if (made && (session = session_new()) != NULL && smfi_setpriv(context, session) != MI_SUCCESS) {
        session_free(session, NULL);
        session = NULL;
    } else if (session != NULL && made) {
        atomic_fetch_add(&sessions, 1);
    }
    return session;
}

static const char *macro(SMFICTX *context, const char *name)
{
    /* libmilter does not change the name, but its prototype does not say so */
    char copy[32];
    size_t size = strlen(name);

    memcpy(copy, name, size + 1);
    return smfi_getsymval(context, copy);
}

static sfsistat on_negotiate(SMFICTX *context, unsigned long actions, unsigned long steps,
                             unsigned long unused2, unsigned long unused3,
                             unsigned long *wanted_actions, unsigned long *wanted_steps,
                             unsigned long *wanted2, unsigned long *wanted3)
{
    static const struct {
        int stage;
        const char *macros;
    } lists[] = {
        {SMFIM_CONNECT, "j v {daemon_name} {daemon_addr} {daemon_port} {if_addr}"},
        {SMFIM_HELO, "{tls_version}"},
        /* {mail_addr} is always there: without any, libmilter keeps the login of the message before
         */
        {SMFIM_ENVFROM, "i {mail_addr} {auth_authen} {auth_type}"},
        {SMFIM_ENVRCPT, "i {rcpt_mailer} {rcpt_host} {rcpt_addr}"},
        {SMFIM_DATA, "i"},
        {SMFIM_EOM, "i"},
    };

    (void)unused2;
    (void)unused3;
    *wanted_actions = actions & SMFIF_SETSYMLIST;
    *wanted_steps = steps & (NO_ANSWERS | NOT_WANTED | SMFIP_RCPT_REJ);
    *wanted2 = *wanted3 = 0;
    if ((actions & SMFIF_SETSYMLIST) != 0) {
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
            char copy[96];
            memcpy(copy, lists[i].macros, strlen(lists[i].macros) + 1);
            if (smfi_setsymlist(context, lists[i].stage, copy) != MI_SUCCESS) {
                return SMFIS_REJECT; /* libmilter: this connection cannot be served */
            }
        }
    }
    if ((steps & NO_ANSWERS) != NO_ANSWERS) {
        log_sentence(NULL, LOG_ERR,
                     "the MTA and libmilter cannot do without answers at connect, HELO, MAIL "
                     "and DATA; this connection is refused");
        return SMFIS_REJECT;
    }
    return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *context, char *name, struct sockaddr *address)
{
    struct session *session = session_of(context);

    struct engine *engine = enter();

    if (session != NULL) {
        session->probe = probe_name[0] != '\0' && name != NULL && strcmp(name, probe_name) == 0;
        session_mta(session, macro(context, "v"));
        session_connect(session, engine, name, address, macro(context, "j"),
                        macro(context, "{daemon_addr}"), macro(context, "{if_addr}"));
    }
    leave();
    return SMFIS_NOREPLY;
}

static sfsistat on_helo(SMFICTX *context, char *helo)
{
    struct session *session = session_of(context);

    if (session != NULL) {
        session_helo(session, helo);
    }
    return SMFIS_NOREPLY;
}

static sfsistat on_mail(SMFICTX *context, char **argv)
{
    struct session *session = session_of(context);

    struct engine *engine = enter();

    if (session != NULL && engine != NULL) {
        const char *sender = argv != NULL && argv[0] != NULL ? argv[0] : "";
        session_mail(session, engine, sender, macro(context, "{auth_authen}"), macro(context, "i"));
    }
    leave();
    return SMFIS_NOREPLY;
}

/* Sets the reply; each time, since libmilter would keep an earlier one. */
static sfsistat answer(SMFICTX *context, const struct judged *judged)
{
    struct reply reply;
    char text[REPLY_TEXT * 2], code[4], enhanced[12];

    if (judged->verdict.action == ACTION_PASS) {
        return SMFIS_CONTINUE;
    }
    reply_make(&judged->verdict, judged->number, judged->help_url, &reply);
    reply_double_percent(reply.text, text, sizeof text);
    memcpy(code, reply.code, sizeof code);
    memcpy(enhanced, reply.enhanced, strlen(reply.enhanced) + 1);
    if (smfi_setreply(context, code, enhanced, text) != MI_SUCCESS) {
        log_sentence(NULL, LOG_ERR, "libmilter would not take the text of a reply");
        return SMFIS_TEMPFAIL;
    }
    return judged->verdict.action == ACTION_DEFER ? SMFIS_TEMPFAIL : SMFIS_REJECT;
}

/* A bare enhanced status code, as Postfix writes it into {rcpt_host} of what it has refused. */
static bool is_enhanced_code(const char *text)
{
    if (text == NULL || (text[0] != '4' && text[0] != '5') || text[1] != '.') {
        return false;
    }
    size_t digits = strspn(text + 2, "0123456789");
    const char *rest = text + 2 + digits;
    return digits >= 1 && digits <= 3 && rest[0] == '.' &&
           strspn(rest + 1, "0123456789") == strlen(rest + 1) && rest[1] != '\0';
}

/* Has the MTA refused this recipient already (SMFIP_RCPT_REJ)? {rcpt_addr} is then its reply, and
 * ours where the permit door spoke. For a virtual alias domain the mailer is error too, but
 * {rcpt_addr} is the recipient. */
static enum refused_by refused_already(SMFICTX *context, const struct facts *facts)
{
    const char *mailer = macro(context, "{rcpt_mailer}");
    const char *text = macro(context, "{rcpt_addr}");

    if (mailer == NULL || strcmp(mailer, "error") != 0 || text == NULL ||
        !is_enhanced_code(macro(context, "{rcpt_host}"))) {
        return REFUSED_BY_NOBODY;
    }
    size_t size = strlen(text);
    const char *typed = facts->recipient.bytes;
    size_t typed_size = facts->recipient.size;
    if (typed_size >= 2 && typed[0] == '<' && typed[typed_size - 1] == '>') {
        typed++;
        typed_size -= 2;
    }
    if (size == typed_size && memcmp(text, typed, size) == 0) {
        return REFUSED_BY_NOBODY;
    }
    /* Postfix begins with <recipient>: and whoever types one may write [sekisho into it. */
    for (const char *next; (next = strstr(text, ">: ")) != NULL; text = next + 3) {
    }
    return strstr(text, "[sekisho ") != NULL ? REFUSED_BY_DOOR : REFUSED_BY_MTA;
}

static sfsistat judge_rcpt(struct engine *engine, SMFICTX *context, char **argv)
{
    struct session *session = smfi_getpriv(context);
    const char *recipient = argv != NULL && argv[0] != NULL ? argv[0] : "";
    enum refused_by refused = REFUSED_BY_NOBODY;
    struct facts facts;
    struct judged judged;

    if (session == NULL) {
        engine_trouble(engine, REASON_INTERNAL_ERROR, &judged);
        return answer(context, &judged);
    }
    if (session->probe) {
        engine_probe(engine);
        return SMFIS_TEMPFAIL; /* never a permission */
    }
    session_queue(session, macro(context, "i"));
    session_facts(session, recipient, &facts);
    if (!session_whole(session)) {
        engine_trouble(engine, REASON_INTERNAL_ERROR, &judged);
    } else {
        refused = refused_already(context, &facts);
        struct question question = {&facts, session->id, session->queue, refused, 0};
        if (session->sendmail) {
            question.resolved =
                message_resolved(macro(context, "{rcpt_mailer}"), macro(context, "{rcpt_host}"),
                                 macro(context, "{rcpt_addr}"));
        }
        engine_rcpt(engine, &session->message, &question, &judged);
    }
    /* The door has recorded its own refusal. */
    if (!(refused == REFUSED_BY_DOOR && judged.verdict.action != ACTION_PASS) && !judged.repeated) {
        log_decision("milter", session->id, session->queue, &facts, &judged,
                     refused == REFUSED_BY_MTA);
    }
    if (judged.verdict.action == ACTION_PASS && refused == REFUSED_BY_NOBODY) {
        session->accepted++;
    } else {
        session->refused++;
    }
    return answer(context, &judged);
}

static sfsistat on_rcpt(SMFICTX *context, char **argv)
{
    struct engine *engine = enter();
    sfsistat status = engine != NULL ? judge_rcpt(engine, context, argv) : SMFIS_TEMPFAIL;

    leave();
    return status;
}

static sfsistat on_data(SMFICTX *context)
{
    struct session *session = smfi_getpriv(context);

    if (session != NULL) {
        session_queue(session, macro(context, "i"));
    }
    return SMFIS_NOREPLY;
}

static sfsistat judge_message(struct engine *engine, SMFICTX *context)
{
    struct session *session = smfi_getpriv(context);
    sfsistat status = SMFIS_CONTINUE;
    struct judged judged;

    if (session != NULL && session->probe) {
        return SMFIS_TEMPFAIL;
    }
    if (session == NULL || !session->has_mail) {
        engine_trouble(engine, REASON_INTERNAL_ERROR, &judged);
        return answer(context, &judged);
    }
    session_queue(session, macro(context, "i"));
    engine_end(engine, &session->message, &judged);
    if (judged.verdict.action != ACTION_PASS) {
        status = answer(context, &judged);
        log_message(session->id, session->queue, "rejected", session->accepted, session->refused,
                    reason_row(judged.verdict.reason)->name, judged.number);
    } else {
        log_message(session->id, session->queue, "accepted", session->accepted, session->refused,
                    "", 0);
    }
    session_end_message(session, engine,
                        status == SMFIS_CONTINUE ? OUTCOME_ACCEPTED : OUTCOME_REJECTED);
    return status;
}

static sfsistat on_end_of_message(SMFICTX *context)
{
    struct engine *engine = enter();
    sfsistat status = engine != NULL ? judge_message(engine, context) : SMFIS_TEMPFAIL;

    leave();
    return status;
}

static sfsistat on_abort(SMFICTX *context)
{
    struct session *session = smfi_getpriv(context);
    struct engine *engine = enter();

    if (session != NULL) {
        session_end_message(session, engine, OUTCOME_ABORTED);
    }
    leave();
    return SMFIS_CONTINUE;
}

/* After a crowd the C library would keep nearly all of its memory: some piece that is still in use
 * always lies at the end. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    static atomic_uint closed;

    if (atomic_fetch_add(&closed, 1) % TRIM_EVERY == TRIM_EVERY - 1) {
        malloc_trim(0);
    }
#endif
}

static sfsistat on_close(SMFICTX *context)
{
    struct engine *engine = enter();

    struct session *session = smfi_getpriv(context);

    session_free(session, engine);
    smfi_setpriv(context, NULL);
    leave();
    if (session != NULL) {
        atomic_fetch_sub(&sessions, 1);
    }
    give_memory_back();
    return SMFIS_CONTINUE;
}

enum status callbacks_register(struct engine *engine, const char *socket_name, int backlog,
                               struct why *why)
{
    static char name[] = "sekisho";
    char socket_copy[256];
    struct smfiDesc description = {
        .xxfi_name = name,
        .xxfi_version = SMFI_VERSION,
        .xxfi_flags = SMFIF_SETSYMLIST,
        .xxfi_connect = on_connect,
        .xxfi_helo = on_helo,
        .xxfi_envfrom = on_mail,
        .xxfi_envrcpt = on_rcpt,
        .xxfi_eom = on_end_of_message,
        .xxfi_abort = on_abort,
        .xxfi_close = on_close,
        .xxfi_data = on_data,
        .xxfi_negotiate = on_negotiate,
    };

    atomic_store(&the_engine, engine);
    if (strlen(socket_name) >= sizeof socket_copy) {
        return why_set(why, STATUS_BAD, "--socket: the name is too long");
    }
    memcpy(socket_copy, socket_name, strlen(socket_name) + 1);
    if (smfi_setconn(socket_copy) != MI_SUCCESS || smfi_setbacklog(backlog) != MI_SUCCESS ||
        smfi_register(description) != MI_SUCCESS || smfi_opensocket(true) != MI_SUCCESS) {
        return why_set(why, STATUS_BROKEN, "libmilter cannot listen at %s", socket_name);
    }
    return STATUS_OK;
}

enum status callbacks_run(void)
{
    prctl(PR_SET_NAME, "milter");
    bool served = smfi_main() == MI_SUCCESS;

    return served && atomic_load(&stopping) ? STATUS_OK : STATUS_BROKEN;
}

void callbacks_finish(int64_t milliseconds)
{
    struct timespec pause_time = {0, 1000000};
    int64_t begin = moment_now().steady, waited;

    interpose_refuse(true);
    /* A connection that was taken just now has not said anything yet. */
    while ((waited = moment_now().steady - begin) < milliseconds &&
           (waited < NEWCOMER_MS || atomic_load(&sessions) > 0)) {
        nanosleep(&pause_time, NULL);
    }
}

void callbacks_probes(const char *name)
{
    snprintf(probe_name, sizeof probe_name, "%s", name);
}

bool callbacks_drain(int64_t milliseconds)
{
    struct timespec pause_time = {0, 1000000};

    atomic_store(&the_engine, NULL);
    while (atomic_load(&in_flight) > 0 && milliseconds-- > 0) {
        nanosleep(&pause_time, NULL);
    }
    return atomic_load(&in_flight) == 0;
}

static void *stop_libmilter(void *stopped)
{
    smfi_stop();
    atomic_store((atomic_bool *)stopped, true);
    return NULL;
}

/* libmilter's listener looks up every five seconds, or at each connection. smfi_stop says that it
 * is over and then waits for the listener, so a connection that is made meanwhile ends both; of
 * those made before, the last may be taken before it is over. */
void callbacks_stop(const struct listen_spec *spec)
{
    struct timespec pause_time = {0, 1000000};
    atomic_bool stopped = false;
    pthread_t thread;

    atomic_store(&stopping, true);
    if (pthread_create(&thread, NULL, stop_libmilter, &stopped) != 0) {
        listen_wake(spec, NUDGES);
        smfi_stop();
        return;
    }
    while (!atomic_load(&stopped)) {
        listen_wake(spec, 1);
        nanosleep(&pause_time, NULL);
    }
    pthread_join(thread, NULL);
}
