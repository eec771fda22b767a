/* Keyed hashes of those whom something is counted for, or who are blocked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/hash.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(HASH_KEY == crypto_shorthash_KEYBYTES, "the key of SipHash");

struct hash_key *hash_key_new(const unsigned char bytes[HASH_KEY])
{
    struct hash_key *key = malloc(sizeof *key);

    if (key != NULL) {
        memcpy(key->bytes, bytes, sizeof key->bytes);
        key->before = NULL;
    }
    return key;
}

void hash_key_free(struct hash_key *key)
{
    while (key != NULL) {
        struct hash_key *before = key->before;
        free(key);
        key = before;
    }
}

uint64_t hash_of(const struct hash_key *key, const void *bytes, size_t size)
{
    unsigned char out[crypto_shorthash_BYTES];
    uint64_t hash;

    crypto_shorthash(out, bytes, size, key->bytes);
    memcpy(&hash, out, sizeof hash);
    return hash != 0 ? hash : 1;
}

uint64_t hash_subject(const struct hash_key *key, const struct subjects *subjects,
                      enum subject subject)
{
    unsigned char bytes[ADDRESS_FORM_ROOM + 2] = {(unsigned char)subject};
    size_t size = 1;

    switch (subject) {
    case SUBJECT_CLIENT:
    case SUBJECT_WINDOW:
        memcpy(bytes + 1, subjects->client.byte, sizeof subjects->client.byte);
        bytes[1 + sizeof subjects->client.byte] = (unsigned char)subjects->prefix;
        size = 2 + sizeof subjects->client.byte;
        break;
    case SUBJECT_IDENTITY:
        size = 1 + strlen(subjects->login);
        memcpy(bytes + 1, subjects->login, size - 1);
        break;
    case SUBJECT_SENDER:
        size = 1 + strlen(subjects->sender);
        memcpy(bytes + 1, subjects->sender, size - 1);
        break;
    default:
        break;
    }
    return hash_of(key, bytes, size);
}

struct ledger_key hash_count(const struct hash_key *key, uint64_t group, uint32_t seconds,
                             uint64_t subject)
{
    uint64_t both[2] = {group, subject};

    return (struct ledger_key){hash_of(key, both, sizeof both), group, seconds};
}

uint64_t hash_block(const struct hash_key *key, uint64_t subject, bool relay)
{
    uint64_t both[2] = {relay ? 1 : 0, subject};

    return hash_of(key, both, sizeof both);
}

void hash_subjects(const struct hash_key *key, const struct subjects *subjects,
                   struct hashes *hashes)
{
    memset(hashes, 0, sizeof *hashes);
    for (unsigned s = 0; s < SUBJECT_COUNT; s++) {
        if (subjects->counted[s]) {
            hashes->subject[s] = hash_subject(key, subjects, (enum subject)s);
        }
    }
    if (subjects->kind == KIND_WINDOW) { /* for blocks, not for counts */
        hashes->subject[SUBJECT_CLIENT] = hash_subject(key, subjects, SUBJECT_CLIENT);
    }
    if (hashes->subject[SUBJECT_CLIENT] != 0) {
        hashes->client_block = hash_block(key, hashes->subject[SUBJECT_CLIENT], false);
        hashes->relay_block = hash_block(key, hashes->subject[SUBJECT_CLIENT], true);
    }
    if (hashes->subject[SUBJECT_IDENTITY] != 0) {
        hashes->identity_block = hash_block(key, hashes->subject[SUBJECT_IDENTITY], false);
    }
}
