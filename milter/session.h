/* What one SMTP session has said so far; makes no assumption about the order of callbacks. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_SESSION_H
#define SEKISHO_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "live/engine.h"

/* Of a text from outside so many octets are kept; longer than a path may be, so that a cut one is
 * still seen to be too long. */
enum { SESSION_TEXT_MOST = 512 };

struct session_text {
    char *bytes; /* owned; NULL = "" */
    size_t size;
};

struct session {
    char id[24];
    bool sendmail;       /* the MTA is Sendmail, as it says: logins are xtext, recipients merged */
    bool connected;      /* without it nothing is known of the client: 451 */
    bool client_broken;  /* memory ran out at connect, */
    bool helo_broken;    /* at HELO */
    bool message_broken; /* or at MAIL: 451 until that is said again */
    bool recipient_broken; /* or for one more recipient, whose facts session_facts has made: 451 */
    bool has_mail;
    bool probe; /* the watchdog's: judged for nobody, neither counted nor recorded */
    bool client_known, submission, listener_known;
    struct ip client, listener;
    struct session_text client_name, helo, host, login, sender;
    char queue[64];
    size_t accepted, refused;
    struct message message;
};

/* NULL when memory runs out. */
struct session *session_new(void);
void session_free(struct session *session, struct engine *engine);

/* Which MTA it is, by its macro v, said at connect. */
void session_mta(struct session *session, const char *version);
/* Each takes what the MTA says at that stage; text may be NULL. */
void session_connect(struct session *session, struct engine *engine, const char *client_name,
                     const struct sockaddr *client, const char *host, const char *daemon_address,
                     const char *interface_address);
void session_helo(struct session *session, const char *helo);
/* A new MAIL: whatever an earlier message left is forgotten. */
void session_mail(struct session *session, struct engine *engine, const char *sender,
                  const char *login, const char *queue);
void session_queue(struct session *session, const char *queue);
/* The message is over: by end of message, abort or close; may be called any number of times. engine
 * NULL: the daemon is ending, nothing is written down any more. */
void session_end_message(struct session *session, struct engine *engine, enum outcome outcome);

/* Is all known that a judgement of the recipient of the last session_facts needs, and room there to
 * remember it? */
bool session_whole(const struct session *session);

/* The facts for a recipient; they borrow from session and recipient. */
void session_facts(struct session *session, const char *recipient, struct facts *facts);

#endif
