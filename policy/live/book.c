/* Ledger, blocks and journal under one lock: ask, judge, charge, record; then answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/book.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decide.h"
#include "core/organisation.h"
#include "live/book_own.h"

enum {
    BLOCKS_MOST = 100000,
    GATEWAYS_MOST = 1000, /* client hosts whose names are remembered */
    GATEWAY_BLOCK = 86400 /* seconds; the next one within a day is twice as long */
};

struct book *book_new(struct sequence *sequence, size_t keys_most)
{
    struct book *book = calloc(1, sizeof *book);
    unsigned char chosen[HASH_KEY];
    uint64_t seed = 0;

    if (book == NULL) {
        return NULL;
    }
    randombytes_buf(chosen, sizeof chosen);
    struct hash_key *key = hash_key_new(chosen);
    atomic_store(&book->hash_key, key);
    randombytes_buf(&seed, sizeof seed);
    book->sequence = sequence;
    book->ledger = ledger_new(keys_most, seed);
    book->blocks = blocklist_new(BLOCKS_MOST);
    book->windows = windows_new();
    book->gateway = gateway_new(GATEWAYS_MOST);
    if (book->ledger == NULL || book->blocks == NULL || book->windows == NULL ||
        book->gateway == NULL || key == NULL || pthread_mutex_init(&book->lock, NULL) != 0) {
        hash_key_free(key);
        ledger_free(book->ledger);
        blocklist_free(book->blocks);
        windows_free(book->windows);
        gateway_free(book->gateway);
        free(book);
        return NULL;
    }
    return book;
}

void book_free(struct book *book)
{
    if (book != NULL) {
        ledger_free(book->ledger);
        blocklist_free(book->blocks);
        windows_free(book->windows);
        gateway_free(book->gateway);
        hash_key_free(atomic_load(&book->hash_key));
        pthread_mutex_destroy(&book->lock);
        free(book);
    }
}

void book_rehearse(struct book *book)
{
    book->rehearsal = true;
}

/* -- what is counted against a recipient ---------------------------------------------------- */

/* A recipient on its way through the book. */
struct passage {
    struct book *book;
    const struct policy *policy;
    const struct question *question;
    struct message *message;
    struct moment now;
    int64_t time; /* the ledger's */
    struct judgement judgement;
    struct subjects subjects;
    const struct hash_key *hash_key; /* of the hashes and keys */
    struct hashes hashes;
    struct usage usage;
    struct ledger_key key[LIMITS_MOST]; /* of the usage's limits */
    bool shadow;                        /* the check rate is only observed */
    size_t charges;
    struct charge charge[DECISION_CHARGES];
    bool blocks;
    struct block block;
};

/* Which limits there are, and their keys. Not under the lock, where it would take a tenth of the
 * time: is_outdated() tells there whether it must be done again. */
static void find_limits(struct passage *passage)
{
    const struct facts *facts = passage->question->facts;
    enum check_mode mode = policy_check_mode(passage->policy, CHECK_RATE, NULL);
    struct usage *usage = &passage->usage;

    memset(usage, 0, offsetof(struct usage, limit));
    policy_subjects(passage->policy, facts, passage->judgement.kind, passage->judgement.sender,
                    &passage->subjects);
    passage->hash_key = atomic_load(&passage->book->hash_key);
    hash_subjects(passage->hash_key, &passage->subjects, &passage->hashes);
    passage->shadow = mode == MODE_OBSERVE;
    if (mode != MODE_OFF) {
        policy_limits_of(passage->policy, &passage->subjects, facts->post, passage->judgement.local,
                         passage->message != NULL ? passage->message->charged : NULL, usage);
    }
    for (size_t i = 0; i < usage->limits; i++) {
        const struct limit *limit = &usage->limit[i].limit;
        uint64_t group = passage->shadow ? ~limit->group : limit->group;
        passage->key[i] =
            hash_count(passage->hash_key, group, limit->seconds,
                       passage->hashes.subject[policy_counts_for(passage->judgement.kind, limit)]);
    }
}

/* A state directory that comes late brings another key for the hashes. */
static bool is_outdated(const struct passage *passage)
{
    return passage->hash_key != atomic_load(&passage->book->hash_key);
}

static struct blocked find_block(const struct passage *passage, uint64_t key)
{
    const struct block *block =
        key != 0 ? blocklist_find(passage->book->blocks, key, passage->time) : NULL;

    return block != NULL ? (struct blocked){true, block->rule}
                         : (struct blocked){false, {TABLE_NONE, 0}};
}

/* The names behind a client that asks for a right to relay of its own: once its right is suspended
 * nothing is learned any more. This machine's own address has all its users behind it. */
static void find_gateway(struct passage *passage)
{
    const struct judgement *judgement = &passage->judgement;
    const struct facts *facts = passage->question->facts;
    struct usage *usage = &passage->usage;
    const char *domain = judgement->sender->domain;
    char helo[ADDRESS_DOMAIN_ROOM];
    bool mailbox = judgement->sender->kind == ADDRESS_MAILBOX;

    if ((judgement->kind != KIND_CLIENT_HOST && judgement->kind != KIND_WINDOW) ||
        judgement->local || facts->post != POST_MILTER || ip_is_loopback(&facts->client) ||
        usage->relay.blocked || usage->client.blocked ||
        policy_check_mode(passage->policy, CHECK_GATEWAY, NULL) == MODE_OFF) {
        return;
    }
    organisation_of_helo(facts->helo.bytes, facts->helo.size, helo);
    domain = mailbox ? organisation_of(domain) : "";
    struct gateway_seen seen = gateway_note(
        passage->book->gateway, passage->hashes.subject[SUBJECT_CLIENT],
        helo[0] != '\0' ? hash_of(passage->hash_key, helo, strlen(helo)) : 0,
        mailbox ? hash_of(passage->hash_key, domain, strlen(domain)) : 0, passage->time);
    usage->gateway =
        (struct gateway_use){true, seen.helos, seen.senders,
                             (unsigned)policy_number(passage->policy, SETTING_GATEWAY_NAMES)};
}

/* How far the limits are used, and who is blocked: under the lock. */
static void find_usage(struct passage *passage)
{
    struct usage *usage = &passage->usage;

    usage->client = find_block(passage, passage->hashes.client_block);
    usage->relay = find_block(passage, passage->hashes.relay_block);
    usage->identity = find_block(passage, passage->hashes.identity_block);
    find_gateway(passage);
    for (size_t i = 0; i < usage->limits; i++) {
        struct limit_use *use = &usage->limit[i];
        use->count = ledger_count(passage->book->ledger, &passage->key[i], passage->time);
        if (use->asked && use->count >= use->limit.allowed && use->limit.allowed > 0) {
            use->wait = ledger_wait(passage->book->ledger, &passage->key[i], use->limit.allowed - 1,
                                    passage->time);
        }
    }
}

/* -- what follows from the verdict ----------------------------------------------------------- */

static void charge(struct passage *passage, const struct ledger_key *key, enum subject subject,
                   uint64_t allowed)
{
    if (passage->charges < DECISION_CHARGES) {
        passage->charge[passage->charges++] = (struct charge){
            key->hash, key->group, passage->time, allowed, key->seconds, 1, (unsigned char)subject};
    }
}

/* Blocks the subject for so long, unless it is blocked already: who goes on does not renew it.
 * Behind a login window nobody has authenticated: whoever shares the address must not be able to
 * shut the login out everywhere, so he loses the right to relay instead. */
static void block(struct passage *passage, enum subject subject, bool relay, int64_t seconds,
                  struct rule rule, enum reason reason)
{
    struct book *book = passage->book;
    const struct facts *facts = passage->question->facts;
    struct block *made = &passage->block;
    char client[SUBJECT_TEXT];
    if (subject == SUBJECT_IDENTITY && passage->judgement.kind == KIND_WINDOW) {
        subject = SUBJECT_CLIENT;
        relay = true;
    }
    uint64_t key = hash_block(passage->hash_key, passage->hashes.subject[subject], relay);
    int64_t longest = policy_number(passage->policy, SETTING_BLOCK_LONGEST);
    unsigned strikes = 1;

    if (passage->blocks || passage->hashes.subject[subject] == 0 ||
        (subject == SUBJECT_CLIENT && ip_is_loopback(&facts->client)) ||
        blocklist_find(book->blocks, key, passage->time) != NULL) {
        return;
    }
    int64_t length = blocklist_length(book->blocks, key, seconds, longest, passage->time, &strikes);
    memset(made, 0, sizeof *made);
    made->key = key;
    subject_text(&passage->subjects, subject, made->subject);
    if (relay) {
        subject_text(&passage->subjects, SUBJECT_CLIENT, client);
        snprintf(made->subject, sizeof made->subject, "relay%s", strchr(client, ':'));
    }
    made->since = passage->now.wall;
    made->until = passage->now.wall + length * 1000;
    made->until_steady = passage->time + length * 1000;
    made->strikes = strikes;
    made->reason = reason;
    made->rule = rule;
    passage->blocks = true;
}

/* Does this refusal count? (1-product.md 1.4, Counting.) */
static bool refusal_counts(const struct passage *passage, const struct verdict *verdict)
{
    bool by_mta = passage->question->refused == REFUSED_BY_MTA;
    bool bounce =
        passage->judgement.kind == KIND_STRANGER && passage->judgement.sender->kind == ADDRESS_NULL;

    if (passage->question->refused == REFUSED_BY_DOOR) {
        return false; /* the door has counted it */
    }
    if (passage->judgement.identified ? passage->usage.identity.blocked
                                      : passage->usage.client.blocked) {
        return false; /* whoever keeps trying would renew his block */
    }
    if (verdict->action == ACTION_PASS) {
        return by_mta && !bounce;
    }
    if (verdict->action != ACTION_REFUSE) {
        return false;
    }
    switch (verdict->check) {
    case CHECK_ADDRESS:
    case CHECK_SENDER:
    case CHECK_HELO:
        return true;
    case CHECK_RELAY:
        return verdict->reason != REASON_RELAY_SUSPENDED;
    case CHECK_TRAP:
        return !bounce;
    default:
        return false;
    }
}

static void charge_refusal(struct passage *passage)
{
    for (size_t i = 0; i < passage->usage.limits; i++) {
        const struct limit_use *use = &passage->usage.limit[i];
        if (use->limit.counts != COUNTS_REFUSALS) {
            continue;
        }
        charge(passage, &passage->key[i], policy_counts_for(passage->judgement.kind, &use->limit),
               use->limit.allowed);
        if (use->count + 1 > use->limit.allowed && !passage->shadow) {
            static const enum reason reasons[] = {REASON_RATE_CLIENT, REASON_RATE_IDENTITY};
            block(passage, use->limit.subject, false, use->limit.block_for, use->limit.rule,
                  reasons[use->limit.subject == SUBJECT_IDENTITY]);
        }
    }
}

static void charge_pass(struct passage *passage)
{
    struct message *message = passage->message;

    if (message == NULL || passage->question->refused != REFUSED_BY_NOBODY ||
        passage->judgement.kind == KIND_SUBMISSION) {
        return;
    }
    for (size_t i = 0; i < passage->usage.limits; i++) {
        const struct limit_use *use = &passage->usage.limit[i];
        if (use->asked) {
            charge(passage, &passage->key[i], use->limit.subject, use->limit.allowed);
        }
    }
}

/* A trap blocks a stranger's client (not for a bounce, not one that an accept row holds), and a
 * login at its second message. */
static void follow_trap(struct passage *passage, const struct verdict *verdict)
{
    const struct facts *facts = passage->question->facts;
    int64_t seconds = policy_trap_block(passage->policy, verdict->rule);
    struct rule listed = {TABLE_NONE, 0};

    if (passage->judgement.identified) {
        enum subject subject =
            passage->judgement.kind == KIND_WINDOW ? SUBJECT_WINDOW : SUBJECT_IDENTITY;
        struct ledger_key key = hash_count(passage->hash_key, TRAP_GROUP, TRAP_SECONDS,
                                           passage->hashes.subject[subject]);
        uint64_t before = ledger_count(passage->book->ledger, &key, passage->time);
        charge(passage, &key, subject, TRAP_ALLOWED);
        if (before >= TRAP_ALLOWED) {
            block(passage, SUBJECT_IDENTITY, false, seconds, verdict->rule, REASON_SPAM_TRAP);
        }
    } else if (passage->judgement.kind == KIND_STRANGER && facts->client_known &&
               passage->judgement.sender->kind == ADDRESS_MAILBOX &&
               !(policy_listed(passage->policy, &facts->client, false, &listed) == LISTING_ACCEPT &&
                 listed.table == TABLE_IP_RANGE)) {
        block(passage, SUBJECT_CLIENT, false, seconds, verdict->rule, REASON_SPAM_TRAP);
    }
}

/* Behind this client stand many: its right to relay is suspended. Mail to us goes on. */
static void follow_gateway(struct passage *passage, const struct verdict *verdict)
{
    const struct gateway_use *use = &passage->usage.gateway;
    struct block *made = &passage->block;

    block(passage, SUBJECT_CLIENT, true, GATEWAY_BLOCK, verdict->rule, verdict->reason);
    if (passage->blocks) {
        snprintf(made->note, sizeof made->note,
                 "%u HELO names and %u sender domains of different organisations in an hour",
                 use->helos, use->senders);
    }
}

/* Charges and blocks, as a list: nothing is changed yet. */
static void find_consequences(struct passage *passage, const struct verdict *verdict)
{
    if (verdict->action == ACTION_PASS && passage->question->refused == REFUSED_BY_NOBODY) {
        charge_pass(passage);
    } else if (refusal_counts(passage, verdict)) {
        charge_refusal(passage);
    }
    if (verdict->check == CHECK_TRAP && verdict->action == ACTION_REFUSE) {
        follow_trap(passage, verdict);
    }
    if (verdict->check == CHECK_GATEWAY && verdict->action == ACTION_REFUSE) {
        follow_gateway(passage, verdict);
    }
    if (verdict->check == CHECK_RATE && verdict->action == ACTION_REFUSE) {
        for (size_t i = 0; i < passage->usage.limits; i++) {
            const struct limit *limit = &passage->usage.limit[i].limit;
            if (limit->rule.row == verdict->rule.row && limit->then == THEN_BLOCK) {
                block(passage, limit->subject, false, limit->block_for, limit->rule,
                      verdict->reason);
            }
        }
    }
}

static void subject_of_charge(const struct passage *passage, enum subject subject,
                              char text[SUBJECT_TEXT])
{
    text[0] = '\0';
    if (passage->subjects.counted[subject]) {
        subject_text(&passage->subjects, subject, text);
    }
}

/* Changes ledger and list as the record says. */
static void apply(struct passage *passage, struct judged *judged, uint64_t record)
{
    struct book *book = passage->book;
    char text[SUBJECT_TEXT];

    for (size_t i = 0; i < passage->charges; i++) {
        const struct charge *one = &passage->charge[i];
        struct ledger_key key = {one->hash, one->group, one->seconds};
        subject_of_charge(passage, (enum subject)one->subject, text);
        ledger_charge(book->ledger, &key, text, one->allowed, one->amount, one->at, passage->time,
                      record);
    }
    if (passage->blocks) {
        passage->block.number = judged->number;
        if (blocklist_put(book->blocks, &passage->block, true)) {
            memcpy(judged->blocked, passage->block.subject, sizeof judged->blocked);
            if (passage->block.reason == REASON_GATEWAY_SUSPECTED) {
                /* or it would begin again at once when somebody lifts the block */
                gateway_forget(book->gateway, passage->hashes.subject[SUBJECT_CLIENT]);
            }
        }
    }
}

/* -- the record ------------------------------------------------------------------------------ */

/* Writes the decision down. False: that cannot be done. */
static bool write_decision(struct passage *passage, const struct judged *judged, uint64_t *record)
{
    const struct facts *facts = passage->question->facts;
    const struct verdict *verdict = &judged->verdict;
    char row_text[RULE_TEXT] = "", observed_text[RULE_TEXT] = "";
    char subject[SUBJECT_COUNT][SUBJECT_TEXT];
    bool needed[SUBJECT_COUNT] = {false};
    struct decision decision;

    decision_begin(&decision, facts, SIZE_MAX);
    decision.wall = passage->now.wall;
    decision.steady = passage->time;
    decision.number = judged->number;
    decision.generation = judged->generation;
    decision.mta_refused = passage->question->refused == REFUSED_BY_MTA;
    decision.session = text_from(passage->question->session);
    decision.queue = text_from(passage->question->queue);
    decision.verdict = *verdict;
    if (passage->policy != NULL) {
        if (verdict->rule.table != TABLE_NONE) {
            policy_rule_text(passage->policy, verdict->rule, row_text);
        }
        if (verdict->observed) {
            policy_rule_text(passage->policy, verdict->observed_rule, observed_text);
        }
        needed[verdict->limit.subject] = verdict->limit.rule.table != TABLE_NONE;
    }
    decision.row_text = text_from(row_text);
    decision.observed_row_text = text_from(observed_text);
    for (size_t i = 0; i < passage->charges; i++) {
        needed[passage->charge[i].subject] = true;
    }
    for (unsigned s = 0; s < SUBJECT_COUNT; s++) {
        subject[s][0] = '\0';
        if (needed[s]) {
            subject_of_charge(passage, (enum subject)s, subject[s]);
        }
        decision.subject[s] = text_from(subject[s]);
    }
    decision.charges = passage->charges;
    decision.charge_list = passage->charge;
    decision.blocks = passage->blocks;
    decision.block_subject = text_from("");
    if (passage->blocks) {
        decision.block_until = passage->block.until;
        decision.block_until_steady = passage->block.until_steady;
        decision.block_strikes = passage->block.strikes;
        decision.block_subject = text_from(passage->block.subject);
    }
    decision.lifted = text_from("");
    return book_append(passage->book, &decision, false, record);
}

/* Number, record, then ledger and blocks. A permission that nobody can account for is not given. */
static void settle(struct passage *passage, struct judged *judged)
{
    struct book *book = passage->book;
    const struct facts *facts = passage->question->facts;
    bool pass = judged->verdict.action == ACTION_PASS;
    bool recorded = pass ? facts->post != POST_DOOR : passage->question->refused != REFUSED_BY_DOOR;
    bool possible =
        book->rehearsal || (book->journal != NULL && journal_ready(book->journal, false) &&
                            sequence_ready(book->sequence));
    uint64_t record = 0;

    if (recorded && possible && !book->rehearsal) {
        judged->number = sequence_take(book->sequence);
        possible = judged->number != 0 && write_decision(passage, judged, &record);
        judged->number = possible ? judged->number : 0;
    }
    if (pass && !possible && judged->verdict.reason != REASON_PASS_SUBMISSION) {
        decide_nothing(REASON_NO_RECORD, &judged->verdict);
        passage->charges = 0;
        passage->blocks = false;
        return;
    }
    apply(passage, judged, record);
    if (pass && passage->message != NULL && passage->question->refused == REFUSED_BY_NOBODY) {
        struct message *message = passage->message;
        for (size_t i = 0; i < passage->charges; i++) {
            message_charge(message, &passage->charge[i]);
        }
        message->charged[DIRECTION_ANY] = true;
        message->charged[judged->verdict.recipient_local ? DIRECTION_IN : DIRECTION_OUT] = true;
    }
}

/* -- the SMTP path --------------------------------------------------------------------------- */

/* For the reply: a pass has none. */
static void take_help_url(const struct policy *policy, struct judged *judged)
{
    judged->help_url[0] = '\0';
    if (policy != NULL && judged->verdict.action != ACTION_PASS) {
        snprintf(judged->help_url, sizeof judged->help_url, "%s",
                 policy_text(policy, SETTING_HELP_URL));
    }
}

static void no_policy(const struct facts *facts, struct verdict *verdict)
{
    decide_nothing(facts->submission ? REASON_PASS_SUBMISSION : REASON_NO_POLICY, verdict);
    if (facts->submission) {
        verdict->kind = KIND_SUBMISSION;
    }
}

/* A message that has met a trap is refused whole. */
static void follow_message(struct passage *passage, struct judged *judged)
{
    struct message *message = passage->message;

    if (message->trapped && judged->verdict.action == ACTION_PASS &&
        !passage->question->facts->submission) {
        bool local = judged->verdict.recipient_local;
        enum sender_kind kind = judged->verdict.kind;
        decide_nothing(REASON_SPAM_TRAP, &judged->verdict);
        judged->verdict.rule = message->trap_rule;
        judged->verdict.recipient_local = local;
        judged->verdict.kind = kind;
        passage->charges = 0;
    }
}

/* A stranger whose client has a login window is judged as its login. True if the judgement was
 * begun again. */
static bool take_window(struct passage *passage, struct facts *facts, struct judged *judged)
{
    if (passage->judgement.kind != KIND_STRANGER || !facts->client_known ||
        policy_number(passage->policy, SETTING_LOGIN_WINDOW_SECONDS) == 0 ||
        !windows_find(passage->book->windows, &facts->client, passage->time, judged->window)) {
        return false;
    }
    facts->login = (struct text){judged->window, strlen(judged->window)};
    facts->window = true;
    judgement_begin(passage->policy, facts, &passage->judgement);
    if (passage->judgement.kind != KIND_WINDOW) {
        facts->login = (struct text){"", 0};
        facts->window = false;
        judged->window[0] = '\0';
        judgement_begin(passage->policy, facts, &passage->judgement);
    }
    return true;
}

/* A refusal would take the mail from a recipient that was promised it, and nobody would hear of it
 * (message.h). So whatever is ours and leads to where a recipient of ours was let through to is let
 * through as well, as that one was: it is the same copy. A trap's refusal may stay, the message is
 * refused whole. */
static bool follow_merged(const struct message *message, uint64_t resolved, bool local,
                          struct verdict *verdict, uint64_t *number)
{
    return verdict->action != ACTION_PASS && local && !message->trapped &&
           verdict->reason != REASON_SPAM_TRAP &&
           message_recall_pass(message, resolved, verdict, number);
}

void book_judge(struct book *book, const struct hold *hold, const struct question *question,
                struct message *message, struct moment now, struct judged *judged)
{
    struct facts facts = *question->facts;
    struct question asked = *question;
    struct passage passage;
    struct address recipient;
    uint64_t mailbox = 0;
    size_t most = message != NULL ? message->room : 0;

    memset(judged, 0, sizeof *judged);
    judged->generation = hold->generation;
    asked.facts = &facts;
    passage.book = book;
    passage.policy = hold->policy;
    passage.question = &asked;
    passage.message = message;
    passage.now = now;
    passage.charges = 0;
    passage.blocks = false;
    memset(passage.subjects.counted, 0, sizeof passage.subjects.counted);
    if (message != NULL) {
        address_parse(facts.recipient.bytes, facts.recipient.size, &recipient);
        facts.recipient_address = &recipient;
        facts.sender_address = message->start != NULL ? &message->start->sender : NULL;
        mailbox = message_mailbox(&recipient);
        if (message_recall(message, mailbox, &judged->verdict, &judged->number)) {
            judged->repeated = true;
            follow_merged(message, question->resolved, judged->verdict.recipient_local,
                          &judged->verdict, &judged->number);
            take_help_url(hold->policy, judged);
            return;
        }
    }
    bool judging = hold->policy != NULL;
    if (judging) {
        size_t allowed = (size_t)policy_number(hold->policy, SETTING_RECIPIENTS_MOST);
        most = allowed < most ? allowed : most;
        judging = message == NULL || message->count < most || facts.submission;
        judgement_begin(hold->policy, &facts, &passage.judgement);
    }
    if (judging) {
        find_limits(&passage);
    }
    book_lock(book);
    passage.time = book_time(book, now);
    if (judging) {
        if (take_window(&passage, &facts, judged) || is_outdated(&passage)) {
            find_limits(&passage);
        }
        find_usage(&passage);
        judgement_end(&passage.judgement, &passage.usage, &judged->verdict);
        find_consequences(&passage, &judged->verdict);
        if (message != NULL) {
            follow_message(&passage, judged);
        }
    } else if (hold->policy == NULL) {
        no_policy(&facts, &judged->verdict);
    } else {
        decide_nothing(REASON_TOO_MANY_RECIPIENTS, &judged->verdict);
    }
    bool merged = message != NULL && hold->policy != NULL &&
                  follow_merged(message, question->resolved, passage.judgement.local,
                                &judged->verdict, &judged->number);
    if (merged) {
        passage.charges = 0;
        passage.blocks = false;
    }
    settle(&passage, judged);
    book_unlock(book);
    if (merged && judged->verdict.action != ACTION_PASS) {
        /* no record can be written now: that of the other speaks for both */
        judged->repeated =
            message_recall_pass(message, question->resolved, &judged->verdict, &judged->number);
    }
    take_help_url(hold->policy, judged);
    if (message != NULL) {
        if (judged->verdict.reason == REASON_SPAM_TRAP && !message->trapped) {
            message->trapped = true;
            message->trap_number = judged->number;
            message->trap_rule = judged->verdict.rule;
        }
        message_remember(message, mailbox, question->resolved, &judged->verdict, judged->number);
    }
}

void book_probe(struct book *book, const struct hold *hold, const struct facts *facts,
                struct verdict *verdict)
{
    static const struct usage nothing;

    book_lock(book);
    if (hold->policy != NULL) {
        decide(hold->policy, facts, &nothing, verdict);
    } else {
        decide_nothing(REASON_NO_POLICY, verdict);
    }
    book_unlock(book);
}

void book_trouble(struct book *book, enum reason reason, struct moment now, struct judged *judged)
{
    static const struct facts nothing = {
        .client_name = {"", 0},
        .helo = {"", 0},
        .host = {"", 0},
        .login = {"", 0},
        .sender = {"", 0},
        .recipient = {"", 0},
    };
    const struct question question = {&nothing, "", "", REFUSED_BY_NOBODY, 0};
    struct passage passage;

    passage.book = book;
    passage.policy = NULL;
    passage.question = &question;
    passage.message = NULL;
    passage.now = now;
    passage.charges = 0;
    passage.blocks = false;
    memset(passage.subjects.counted, 0, sizeof passage.subjects.counted);
    decide_nothing(reason, &judged->verdict);
    book_lock(book);
    passage.time = book_time(book, now);
    settle(&passage, judged);
    book_unlock(book);
}

/* Gives back what the message was charged, as its end record says. */
static void give_back(struct book *book, const struct decision *end, uint64_t record)
{
    for (size_t i = 0; i < end->charges; i++) {
        const struct charge *one = &end->charge_list[i];
        struct ledger_key key = {one->hash, one->group, one->seconds};
        ledger_refund(book->ledger, &key, one->amount, one->at, end->steady, record);
    }
}

void book_end(struct book *book, struct message *message, enum outcome outcome, const char *queue,
              struct moment now)
{
    uint64_t numbers[DECISION_NUMBERS];
    struct message_start *start = message->start;
    size_t from = 0, count;
    struct decision end;
    uint64_t record;

    if (start == NULL || (message->count == 0 && start->charges == 0)) {
        return;
    }
    memset(&end, 0, sizeof end);
    end.kind = RECORD_END;
    end.wall = now.wall;
    end.outcome = outcome;
    end.queue = text_from(queue);
    end.charges = outcome == OUTCOME_ACCEPTED ? 0 : start->charges;
    end.charge_list = start->charge;
    end.number_list = numbers;
    book_lock(book);
    end.steady = book_time(book, now);
    while ((count = message_numbers(message, &from, numbers, DECISION_NUMBERS)) > 0 ||
           end.charges > 0) {
        end.numbers = count;
        book_append(book, &end, true, &record);
        give_back(book, &end, record);
        end.charges = 0; /* with the first record of several */
    }
    book_unlock(book);
    start->charges = 0;
    message->count = 0;
}
