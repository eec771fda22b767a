/* The judgement: one recipient, by the checks in their order. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/decide.h"

#include <errno.h>
#include <string.h>

#include "core/policy_limit.h"

/* A check answers through the step: vote, reason and rule. It is asked only where it concerns the
 * case. */
typedef void check_function(const struct judgement *judgement, struct trail_step *step);

static void refuse(struct trail_step *step, enum reason reason)
{
    step->reason = reason;
    step->vote = reason_row(reason)->action == ACTION_DEFER ? VOTE_DEFER : VOTE_REFUSE;
}

static bool stranger(const struct judgement *judgement)
{
    return judgement->kind == KIND_STRANGER;
}

static void check_address(const struct judgement *judgement, struct trail_step *step)
{
    const struct address *sender = judgement->sender, *recipient = judgement->recipient;

    if (sender->out_of_memory || recipient->out_of_memory) {
        refuse(step, REASON_INTERNAL_ERROR);
    } else if (recipient->routed && stranger(judgement)) {
        refuse(step, REASON_ADDRESS_ROUTED);
    } else if (sender->kind == ADDRESS_MALFORMED || recipient->kind != ADDRESS_MAILBOX) {
        refuse(step, REASON_ADDRESS_MALFORMED);
    }
}

/* A client's block concerns strangers; a client host or window loses its right to relay by it
 * (check_relay). */
static void check_block(const struct judgement *judgement, struct trail_step *step)
{
    const struct usage *usage = judgement->usage;

    if (judgement->receive_only) {
        return;
    }
    if (judgement->identified && usage->identity.blocked) {
        step->rule = usage->identity.rule;
        refuse(step, REASON_IDENTITY_BLOCKED);
    } else if (stranger(judgement) && usage->client.blocked) {
        step->rule = usage->client.rule;
        refuse(step, REASON_CLIENT_BLOCKED);
    }
}

static void check_listed(const struct judgement *judgement, struct trail_step *step)
{
    if (judgement->receive_only || !judgement->facts->client_known) {
        return;
    }
    switch (policy_listed(judgement->policy, &judgement->facts->client, judgement->login,
                          &step->rule)) {
    case LISTING_REJECT:
        refuse(step, REASON_CLIENT_LISTED);
        break;
    case LISTING_TEMPFAIL:
        refuse(step, REASON_CLIENT_DEFERRED);
        break;
    case LISTING_NONE:
    case LISTING_ACCEPT:
        break;
    }
}

static void check_identity(const struct judgement *judgement, struct trail_step *step)
{
    const struct facts *facts = judgement->facts;

    if (!judgement->identified) {
        return;
    }
    if (policy_login_receive_only(judgement->policy, &facts->login, &step->rule)) {
        refuse(step, REASON_IDENTITY_RECEIVE_ONLY);
        return;
    }
    step->rule = judgement->identity.rule;
    if (!judgement->identity.known) {
        refuse(step, REASON_IDENTITY_UNKNOWN);
    } else if (!judgement->identity.may_send) {
        refuse(step, REASON_IDENTITY_MAY_NOT_SEND);
    } else {
        struct rule host = {TABLE_NONE, 0};
        bool here = policy_identity_host(judgement->policy, &facts->login, &judgement->identity,
                                         facts->client_known, &facts->client, &host);
        if (!here) {
            refuse(step, REASON_IDENTITY_WRONG_HOST);
        }
        if (host.table != TABLE_NONE) {
            step->rule = host;
        }
    }
}

/* user@[127.0.0.1] is somebody here to whoever answers it, though not to the MTA as a recipient. */
static bool is_loopback_literal(const struct address *address)
{
    struct ip ip;

    return address->literal && ip_parse(address->domain, &ip) && ip_is_loopback(&ip);
}

static void check_sender(const struct judgement *judgement, struct trail_step *step)
{
    const struct address *sender = judgement->sender;

    if (sender->kind != ADDRESS_MAILBOX) {
        return;
    }
    if (judgement->identified) {
        if (!policy_identity_sender(judgement->policy, &judgement->facts->login,
                                    &judgement->identity, sender, &step->rule)) {
            refuse(step, REASON_SENDER_NOT_YOURS);
        }
        return;
    }
    if (judgement->client_host) {
        return;
    }
    struct rule domain, address;
    if (policy_domain(judgement->policy, judgement->facts, sender, &domain) == DOMAIN_OURS ||
        is_loopback_literal(sender)) {
        step->rule = domain;
        refuse(step, REASON_SENDER_SPOOFED);
    } else if (policy_receive_only(judgement->policy, judgement->facts, sender, &address)) {
        step->rule = address;
        refuse(step, REASON_SENDER_SPOOFED);
    }
}

static void check_null_sender(const struct judgement *judgement, struct trail_step *step)
{
    if (judgement->identified && judgement->sender->kind == ADDRESS_NULL) {
        refuse(step, REASON_SENDER_NULL);
    }
}

static void check_helo(const struct judgement *judgement, struct trail_step *step)
{
    if (stranger(judgement) &&
        policy_helo_is_ours(judgement->policy, judgement->facts, &step->rule)) {
        refuse(step, REASON_HELO_OUR_NAME);
    }
}

static void check_relay(const struct judgement *judgement, struct trail_step *step)
{
    if (judgement->local) {
        step->rule = judgement->domain_rule;
        if (judgement->facts->not_for_mta && stranger(judgement)) {
            /* the tables call it ours, the MTA would send it on: a row too much */
            refuse(step, REASON_RELAY_DENIED);
        }
    } else if (judgement->login) {
        step->rule = judgement->identity.rule;
    } else if (judgement->client_host || judgement->window) {
        const struct blocked *relay = &judgement->usage->relay, *client = &judgement->usage->client;
        step->rule =
            judgement->client_host ? judgement->client_host_rule : judgement->identity.rule;
        if (relay->blocked || client->blocked) {
            const struct rule *rule = relay->blocked ? &relay->rule : &client->rule;
            step->rule = rule->table != TABLE_NONE ? *rule : step->rule;
            refuse(step, REASON_RELAY_SUSPENDED);
        }
    } else {
        refuse(step, REASON_RELAY_DENIED);
    }
}

static void check_trap(const struct judgement *judgement, struct trail_step *step)
{
    if (policy_spam_trap(judgement->policy, judgement->facts, judgement->recipient, &step->rule)) {
        refuse(step, REASON_SPAM_TRAP);
    }
}

/* One machine of ours has one name, or many senders behind it: a relay. Many names with many
 * senders are many machines, of people we have not trusted. */
static void check_gateway(const struct judgement *judgement, struct trail_step *step)
{
    const struct gateway_use *use = &judgement->usage->gateway;

    if (use->asked && use->helos > use->allowed && use->senders > use->allowed) {
        step->rule =
            judgement->client_host ? judgement->client_host_rule : judgement->identity.rule;
        refuse(step, REASON_GATEWAY_SUSPECTED);
    }
}

/* Does this limit object? */
static bool is_used_up(const struct limit_use *use)
{
    return use->asked && use->count >= use->limit.allowed;
}

/* Of two limits that object the one that is the harder to bear speaks. */
static bool is_harder(const struct limit_use *a, const struct limit_use *b)
{
    if (a->limit.then != b->limit.then) {
        return a->limit.then > b->limit.then;
    }
    return a->wait > b->wait;
}

/* Which of two limits is nearer to its end, by the part of it that is used? */
static bool is_nearer(const struct limit_use *a, const struct limit_use *b)
{
    return ((double)a->count + 1) / ((double)a->limit.allowed + 1) >
           ((double)b->count + 1) / ((double)b->limit.allowed + 1);
}

/* The limit that speaks, or (of none that objects) the one that is nearest; NULL when none counts
 * this recipient. */
static const struct limit_use *speaking_limit(const struct usage *usage)
{
    const struct limit_use *speaking = NULL;

    for (size_t i = 0; i < usage->limits; i++) {
        const struct limit_use *use = &usage->limit[i];
        if (!use->asked) {
            continue;
        }
        bool used_up = is_used_up(use), before = speaking != NULL && is_used_up(speaking);
        if (speaking == NULL || (used_up && !before) ||
            (used_up == before && (used_up ? is_harder : is_nearer)(use, speaking))) {
            speaking = use;
        }
    }
    return speaking;
}

static void check_rate(const struct judgement *judgement, struct trail_step *step)
{
    static const enum reason reasons[SUBJECT_COUNT] = {REASON_RATE_CLIENT, REASON_RATE_IDENTITY,
                                                       REASON_RATE_SENDER, REASON_RATE_EVERYONE,
                                                       REASON_RATE_LOGIN_WINDOW};
    const struct limit_use *use = speaking_limit(judgement->usage);

    if (use == NULL) {
        return;
    }
    step->rule = use->limit.rule;
    if (is_used_up(use)) {
        step->reason = reasons[use->limit.subject];
        step->vote = use->limit.then == THEN_TEMPFAIL ? VOTE_DEFER : VOTE_REFUSE;
    }
}

/* The order of judgement. */
static const struct {
    check_function *ask;
    bool at_door;    /* the permit door asks it too */
    bool may_exempt; /* an exemption row may spare a client this check */
    bool counted;    /* it looks at the usage */
} order[CHECK_COUNT] = {
    [CHECK_ADDRESS] = {check_address, true, false, false},
    [CHECK_BLOCK] = {check_block, false, true, true},
    [CHECK_LISTED] = {check_listed, false, true, false},
    [CHECK_IDENTITY] = {check_identity, true, false, false},
    [CHECK_SENDER] = {check_sender, false, true, false},
    [CHECK_NULL_SENDER] = {check_null_sender, false, false, false},
    [CHECK_HELO] = {check_helo, false, true, false},
    [CHECK_RELAY] = {check_relay, true, false, true},
    [CHECK_TRAP] = {check_trap, false, true, false},
    [CHECK_GATEWAY] = {check_gateway, false, false, true},
    [CHECK_RATE] = {check_rate, false, true, true},
};

/* Who is somewhere else than in the milter's conversation has no modes. */
static enum check_mode mode_of(const struct judgement *judgement, enum check check)
{
    return judgement->facts->post == POST_MILTER ? policy_check_mode(judgement->policy, check, NULL)
                                                 : MODE_ENFORCE;
}

static bool is_asked(const struct judgement *judgement, enum check check)
{
    return judgement->facts->post != POST_DOOR || order[check].at_door;
}

/* Asks one check; true if it ended the judgement. */
static bool ask(const struct judgement *judgement, enum check check, struct verdict *verdict)
{
    struct trail_step *step = &verdict->trail[check];
    enum check_mode mode = mode_of(judgement, check);

    if (!is_asked(judgement, check)) {
        return false;
    }
    if (mode == MODE_OFF) {
        step->vote = VOTE_OFF;
        return false;
    }
    if (order[check].counted) {
        step->vote = VOTE_NO_OPINION;
        order[check].ask(judgement, step);
    } else {
        *step = judgement->said[check];
    }
    if (step->vote == VOTE_NO_OPINION) {
        return false;
    }
    if (order[check].may_exempt && judgement->facts->client_known &&
        policy_exempt(judgement->policy, check, &judgement->facts->client, judgement->sender,
                      &step->exemption)) {
        step->vote = VOTE_EXEMPT;
        return false;
    }
    if (mode == MODE_OBSERVE) {
        step->vote = VOTE_OBSERVED;
        if (!verdict->observed) {
            verdict->observed = true;
            verdict->observed_reason = step->reason;
            verdict->observed_rule = step->rule;
        }
        return false;
    }
    verdict->action = step->vote == VOTE_DEFER ? ACTION_DEFER : ACTION_REFUSE;
    verdict->reason = step->reason;
    verdict->rule = step->rule;
    verdict->check = check;
    return true;
}

/* The reason of a pass: why the recipient may be had. */
static void pass(const struct judgement *judgement, struct verdict *verdict)
{
    verdict->action = ACTION_PASS;
    verdict->check = CHECK_NONE;
    if (judgement->local) {
        verdict->reason = REASON_PASS_LOCAL;
        verdict->rule = judgement->domain_rule;
    } else if (judgement->login) {
        verdict->reason = REASON_PASS_IDENTITY;
        verdict->rule = judgement->identity.rule;
    } else if (judgement->window) {
        verdict->reason = REASON_PASS_LOGIN_WINDOW;
        verdict->rule = judgement->identity.rule;
    } else {
        verdict->reason = REASON_PASS_CLIENT_HOST;
        verdict->rule = judgement->client_host_rule;
    }
}

/* In client_host, and no narrower row says reject or tempfail: what such a row carves out has no
 * right to relay, whatever the mode of the check listed and whoever is exempt from it. */
static bool is_client_host(const struct policy *policy, const struct ip *client, struct rule *rule)
{
    return policy_client_host(policy, client, rule) &&
           policy_listed(policy, client, false, NULL) <= LISTING_ACCEPT;
}

/* Does the client connect to an address of its own? Then it is this machine, and all its users. */
static bool is_this_machine(const struct facts *facts)
{
    return ip_is_loopback(&facts->client) ||
           (facts->listener_known && ip_compare(&facts->client, &facts->listener) == 0);
}

/* A window gives a right to a client that has none: a client host needs none, and where a row says
 * reject or tempfail nobody has one who has not authenticated. Nor is there a right without a
 * limit, or one for everybody on this machine. */
static bool has_window(const struct judgement *judgement)
{
    const struct facts *facts = judgement->facts;

    return facts->window && facts->login.size > 0 && facts->client_known && !facts->submission &&
           !judgement->client_host && !is_this_machine(facts) &&
           policy_listed(judgement->policy, &facts->client, false, NULL) <= LISTING_ACCEPT &&
           policy_window_limited(judgement->policy, &facts->client, &facts->login,
                                 judgement->sender);
}

void decide_nothing(enum reason reason, struct verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    verdict->action = reason_row(reason)->action;
    verdict->reason = reason;
    verdict->check = CHECK_NONE;
}

/* What the checks say that nothing counted concerns: whoever holds a lock over judgement_end holds
 * it the shorter. */
static void ask_uncounted(struct judgement *judgement)
{
    for (unsigned check = 0; check < CHECK_COUNT && !judgement->facts->submission; check++) {
        struct trail_step *step = &judgement->said[check];
        if (order[check].counted || !is_asked(judgement, (enum check)check) ||
            mode_of(judgement, (enum check)check) == MODE_OFF) {
            continue;
        }
        memset(step, 0, sizeof *step);
        step->vote = VOTE_NO_OPINION;
        order[check].ask(judgement, step);
    }
}

void judgement_begin(const struct policy *policy, const struct facts *facts,
                     struct judgement *judgement)
{
    int kept = errno;

    errno = 0;
    judgement->policy = policy;
    judgement->facts = facts;
    judgement->usage = NULL;
    judgement->sender = facts->sender_address;
    judgement->recipient = facts->recipient_address;
    if (judgement->sender == NULL) {
        address_parse(facts->sender.bytes, facts->sender.size, &judgement->parsed[0]);
        judgement->sender = &judgement->parsed[0];
    }
    if (judgement->recipient == NULL) {
        address_parse(facts->recipient.bytes, facts->recipient.size, &judgement->parsed[1]);
        judgement->recipient = &judgement->parsed[1];
    }
    judgement->recipient_domain = DOMAIN_FOREIGN;
    judgement->domain_rule = judgement->client_host_rule = (struct rule){TABLE_NONE, 0};
    judgement->local = judgement->receive_only = false;
    judgement->login = facts->login.size > 0 && !facts->window;
    judgement->client_host =
        facts->client_known && is_client_host(policy, &facts->client, &judgement->client_host_rule);
    judgement->window = has_window(judgement);
    judgement->identified = judgement->login || judgement->window;
    if (judgement->identified) {
        judgement->identity = policy_identity(policy, &facts->login);
    }
    if (judgement->recipient->kind == ADDRESS_MAILBOX) {
        judgement->recipient_domain =
            policy_domain(policy, facts, judgement->recipient, &judgement->domain_rule);
        /* The MTA follows a route for those who may relay: such a recipient is not here. */
        judgement->local =
            judgement->recipient_domain != DOMAIN_FOREIGN && !judgement->recipient->routed;
        judgement->receive_only =
            judgement->local && policy_receive_only(policy, facts, judgement->recipient, NULL);
    }
    judgement->kind = facts->submission        ? KIND_SUBMISSION
                      : judgement->login       ? KIND_LOGIN
                      : judgement->client_host ? KIND_CLIENT_HOST
                      : judgement->window      ? KIND_WINDOW
                                               : KIND_STRANGER;
    ask_uncounted(judgement);
    judgement->out_of_memory = errno == ENOMEM;
    errno = kept;
}

void judgement_end(struct judgement *judgement, const struct usage *usage, struct verdict *verdict)
{
    int kept = errno;

    errno = 0;
    memset(verdict, 0, sizeof *verdict);
    judgement->usage = usage;
    verdict->recipient_local = judgement->local;
    verdict->kind = judgement->kind;
    if (judgement->facts->submission) {
        verdict->action = ACTION_PASS;
        verdict->reason = REASON_PASS_SUBMISSION;
        verdict->check = CHECK_NONE;
        errno = kept;
        return;
    }
    const struct limit_use *use = speaking_limit(usage);
    if (use != NULL) {
        verdict->limit = (struct limit_seen){
            use->limit.rule,    use->limit.subject, use->limit.counts, use->count,
            use->limit.allowed, use->limit.seconds, use->wait};
    }
    bool ended = false;
    for (unsigned check = 0; check < CHECK_COUNT && !ended; check++) {
        ended = ask(judgement, (enum check)check, verdict);
    }
    if (!ended) {
        pass(judgement, verdict);
    }
    /* A name that could not be folded for want of memory is no other name: nothing rests on it. */
    if ((judgement->out_of_memory || errno == ENOMEM) && verdict->action == ACTION_PASS) {
        decide_nothing(REASON_INTERNAL_ERROR, verdict);
    }
    errno = kept;
}

void decide(const struct policy *policy, const struct facts *facts, const struct usage *usage,
            struct verdict *verdict)
{
    struct judgement judgement;

    judgement_begin(policy, facts, &judgement);
    judgement_end(&judgement, usage, verdict);
}
