/* Keyed hashes of those whom something is counted for, or who are blocked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_HASH_H
#define SEKISHO_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "core/ledger.h"
#include "core/policy_limit.h"

enum { HASH_KEY = 16 };

/* The key of all hashes. */
struct hash_key {
    unsigned char bytes[HASH_KEY];
    struct hash_key *before; /* used until this one came */
};

/* NULL when memory runs out. */
struct hash_key *hash_key_new(const unsigned char bytes[HASH_KEY]);
/* With all that were before it. */
void hash_key_free(struct hash_key *key);

/* Never 0. */
uint64_t hash_of(const struct hash_key *key, const void *bytes, size_t size);

/* Keyed hashes of the subjects and of their blocks, made once a recipient; 0 = there is none. */
struct hashes {
    uint64_t subject[SUBJECT_COUNT];
    uint64_t client_block, relay_block, identity_block;
};

/* Of those that are counted; the client's behind a login window too, for blocks. */
void hash_subjects(const struct hash_key *key, const struct subjects *subjects,
                   struct hashes *hashes);
uint64_t hash_subject(const struct hash_key *key, const struct subjects *subjects,
                      enum subject subject);
/* The key of a count. */
struct ledger_key hash_count(const struct hash_key *key, uint64_t group, uint32_t seconds,
                             uint64_t subject);
/* A block's key: of the client's network or the login, or of a client's right to relay. */
uint64_t hash_block(const struct hash_key *key, uint64_t subject, bool relay);

#endif
