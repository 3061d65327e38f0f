/* MD5 of many streams at once: plain C, without Python. */
#ifndef S3_RESTORE_MD5_LANES_H
#define S3_RESTORE_MD5_LANES_H

#include <stddef.h>
#include <stdint.h>

enum { BLOCK = 64, DIGEST = 16 };

/* One MD5 in the making. */
typedef struct {
    uint32_t words[4];
    uint64_t length;     /* bytes taken so far */
    uint8_t tail[BLOCK]; /* the length % 64 bytes that fill no block yet */
} Context;

/* Bytes for one context; `next` and `blocks` are the rest of its whole blocks while it runs. */
typedef struct {
    Context *context;
    const uint8_t *next;
    size_t count;
    size_t blocks;
} Job;

/* An instruction set. */
typedef struct Set Set;

void md5_begin(Context *context);
void md5_feed(Context *context, const uint8_t *data, size_t count);
void md5_finish(Context context, uint8_t *digest);

/* No context may be in two jobs. `queue` has room for `count` jobs. */
void md5_run_jobs(const Set *set, Job *jobs, Job **queue, size_t count);

/* Those that were compiled, slowest first. */
int md5_set_count(void);
const Set *md5_set(int number);
/* Whether this processor has it, and the operating system saves its registers. */
int md5_can_run(const Set *set);
const char *md5_set_name(const Set *set);
int md5_set_lanes(const Set *set);

#endif
